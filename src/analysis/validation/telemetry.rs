//! Telemetry.

use crate::api::metadata::Metadata;
use crate::api::policies::{
    AccessLogging, CustomTag, MetricOverride, Metrics, ProviderReference, TagOperation,
    TelemetrySpec, Tracing,
};

use super::Validate;
use super::cel;
use super::fields;
use super::policies;
use super::report::Field;

impl Validate for TelemetrySpec {
    fn validate(&self, meta: &Metadata, at: &Field<'_>) {
        policies::target(at, self);
        policies::dry_run(meta, at, false);
        if self.tracing.len() > 1 {
            at.member("tracing")
                .questionable("only the first entry is used");
        }
        at.each("tracing", &self.tracing, tracing);
        at.each("metrics", &self.metrics, metrics);
        at.each("accessLogging", &self.access_logging, access_logging);
    }
}

fn providers(at: &Field<'_>, providers: &[ProviderReference]) {
    at.each("providers", providers, |at, provider| {
        if provider.name.is_empty() {
            at.member("name").invalid("is needed");
        }
    });
}

fn tracing(at: &Field<'_>, tracing: &Tracing) {
    providers(at, &tracing.providers);
    if tracing.providers.len() > 1 {
        at.member("providers")
            .questionable("only the first provider is used");
    }
    if let Some(share) = tracing.random_sampling_percentage
        && !(0.0..=100.0).contains(&share)
    {
        at.member("randomSamplingPercentage")
            .invalid(format!("{share} is not a percentage from 0 to 100"));
    }
    let tags = at.member("customTags");
    for (name, tag) in &tracing.custom_tags {
        if name.is_empty() {
            tags.invalid("the name of a tag must not be empty");
        }
        custom_tag(&tags.key(name), tag);
    }
}

fn custom_tag(at: &Field<'_>, tag: &CustomTag) {
    let members = [
        ("literal", tag.literal.is_some()),
        ("environment", tag.environment.is_some()),
        ("header", tag.header.is_some()),
        ("formatter", tag.formatter.is_some()),
    ];
    fields::only_one(at, &members);
    for (name, text) in [("literal", &tag.literal), ("formatter", &tag.formatter)] {
        at.within(name, text, |at, text| {
            if text.value.is_empty() {
                at.member("value").invalid("must not be empty");
            }
        });
    }
    for (name, source) in [("environment", &tag.environment), ("header", &tag.header)] {
        at.within(name, source, |at, source| {
            if source.name.is_empty() {
                at.member("name").invalid("is needed");
            }
        });
    }
}

fn metrics(at: &Field<'_>, metrics: &Metrics) {
    providers(at, &metrics.providers);
    fields::duration(&at.member("reportingInterval"), &metrics.reporting_interval);
    at.each("overrides", &metrics.overrides, metric_override);
}

fn metric_override(at: &Field<'_>, change: &MetricOverride) {
    at.within("match", &change.r#match, |at, selector| {
        let members = [
            ("metric", selector.metric.is_some()),
            ("customMetric", selector.custom_metric.is_some()),
        ];
        fields::only_one(at, &members);
        if selector.custom_metric.as_deref() == Some("") {
            at.member("customMetric").invalid("must not be empty");
        }
    });
    let tags = at.member("tagOverrides");
    for (name, change) in &change.tag_overrides {
        let tag = tags.key(name);
        if name.is_empty() {
            tag.questionable("the name of a tag must not be empty");
        }
        let value = tag.member("value");
        match change.operation {
            TagOperation::Upsert if change.value.is_empty() => {
                value.invalid("is needed to add or change a tag");
            }
            TagOperation::Remove if !change.value.is_empty() => {
                value.invalid("cannot be set where a tag is removed");
            }
            _ => {}
        }
    }
}

fn access_logging(at: &Field<'_>, logging: &AccessLogging) {
    providers(at, &logging.providers);
    at.within("filter", &logging.filter, |at, filter| {
        at.member("expression")
            .check(cel::check(&filter.expression));
    });
}

//! Prometheus' text formats: several expositions made into one.
//!
//! Two formats are spoken: the text format 0.0.4 and OpenMetrics. They differ enough that one put behind the other is
//! neither, so where one part is OpenMetrics, the others are rewritten to it: times in seconds, names of counters
//! without `_total` in their description, no blank lines, one `# EOF` at the end of it all. Sources: Prometheus'
//! "Exposition formats", the OpenMetrics specification 1.0.

use std::collections::HashSet;

/// How an exposition is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `text/plain; version=0.0.4`.
    Text,
    /// `application/openmetrics-text`.
    OpenMetrics,
}

/// The media type of OpenMetrics.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text";

impl Format {
    /// The format that a `Content-Type` stands for. As for Prometheus, what is not OpenMetrics is text, whatever it
    /// calls itself.
    pub(super) fn of(content_type: &str) -> Self {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        if media.eq_ignore_ascii_case(OPEN_METRICS) {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// A line that is neither a comment nor a sample.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is no metric: {text:?}")]
pub(super) struct Malformed {
    line: usize,
    text: String,
}

/// One exposition, made of several.
#[derive(Debug)]
pub(super) struct Merged {
    format: Format,
    text: String,
    /// What was described: the second description of a name makes an exposition invalid.
    described: HashSet<(&'static str, String)>,
}

/// A line of an exposition.
enum Line<'a> {
    /// `# HELP`, `# TYPE`, `# UNIT`: the keyword, the name, the rest.
    Description(&'static str, &'a str, &'a str),
    Sample(Sample<'a>),
    /// `# EOF`.
    End,
    /// A blank line or another comment.
    Nothing,
}

/// A value at a moment.
struct Sample<'a> {
    /// Name and labels.
    series: &'a str,
    value: &'a str,
    timestamp: Option<&'a str>,
}

impl Merged {
    /// An empty exposition.
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            text: String::new(),
            described: HashSet::new(),
        }
    }

    /// Appends a part. OpenMetrics can only be appended to OpenMetrics.
    ///
    /// # Errors
    /// A line of the part is none of an exposition; then nothing of it is appended.
    pub(super) fn add(&mut self, part: &str, format: Format) -> Result<(), Malformed> {
        let counters = check(part)?;
        let rewrite = self.format == Format::OpenMetrics && format == Format::Text;
        for line in part.lines() {
            match read(line).unwrap_or(Line::Nothing) {
                Line::Nothing => {}
                // In the text format a comment like any other.
                Line::End if format == Format::Text => {}
                Line::End => break,
                Line::Description(keyword, name, rest) => {
                    let counter = rewrite && counters.contains(name);
                    self.describe(keyword, name, rest, rewrite, counter);
                }
                Line::Sample(sample) if rewrite => self.rewrite(&sample),
                Line::Sample(_) => self.line(line),
            }
        }
        Ok(())
    }

    /// All of it.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.line("# EOF");
        }
        self.text
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn describe(
        &mut self,
        keyword: &'static str,
        name: &str,
        rest: &str,
        rewrite: bool,
        counter: bool,
    ) {
        // In OpenMetrics a counter's samples have the suffix, its description has not. One without the suffix can be
        // no counter there, and has to keep its name.
        let family = name.strip_suffix("_total").filter(|_| counter);
        let rest = match (keyword, rest) {
            ("TYPE", "counter") if counter && family.is_none() => "unknown",
            ("TYPE", "untyped") if rewrite => "unknown",
            _ => rest,
        };
        let name = family.unwrap_or(name);
        if !self.described.insert((keyword, name.to_owned())) {
            return;
        }
        if keyword == "HELP" && rewrite {
            let text = quoted(rest);
            self.line(&format!("# HELP {name} {text}"));
        } else {
            self.line(&format!("# {keyword} {name} {rest}"));
        }
    }

    fn rewrite(&mut self, sample: &Sample<'_>) {
        let Sample {
            series,
            value,
            timestamp,
        } = sample;
        match timestamp.and_then(seconds) {
            Some(seconds) => self.line(&format!("{series} {value} {seconds}")),
            None => self.line(&format!("{series} {value}")),
        }
    }
}

/// Looks at every line; the names that are described as counters.
fn check(part: &str) -> Result<HashSet<&str>, Malformed> {
    let mut counters = HashSet::new();
    for (index, line) in part.lines().enumerate() {
        match read(line) {
            Some(Line::Description("TYPE", name, "counter")) => {
                counters.insert(name);
            }
            Some(_) => {}
            None => {
                return Err(Malformed {
                    line: index + 1,
                    text: line.chars().take(80).collect(),
                });
            }
        }
    }
    Ok(counters)
}

/// Reads a line; `None` where it is none of an exposition.
fn read(line: &str) -> Option<Line<'_>> {
    let line = line.trim_matches(|c| matches!(c, ' ' | '\t' | '\r'));
    let Some(comment) = line.strip_prefix('#') else {
        if line.is_empty() {
            return Some(Line::Nothing);
        }
        return sample(line).map(Line::Sample);
    };
    let comment = comment.trim_start_matches([' ', '\t']);
    if comment == "EOF" {
        return Some(Line::End);
    }
    let (keyword, rest) = word(comment);
    let keyword = ["HELP", "TYPE", "UNIT"]
        .into_iter()
        .find(|known| *known == keyword);
    let (name, rest) = word(rest);
    match keyword {
        Some(keyword) if !name.is_empty() => Some(Line::Description(keyword, name, rest)),
        _ => Some(Line::Nothing),
    }
}

/// The first word and what follows it.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim_start_matches([' ', '\t']))
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = series(line)?;
    let (series, rest) = line.split_at(end);
    // The space that follows may be missing behind labels.
    let (value, rest) = word(rest.trim_start_matches([' ', '\t']));
    value.parse::<f64>().ok()?;
    // In OpenMetrics, an example of what was measured may follow.
    let (timestamp, _) = word(rest.split('#').next().unwrap_or_default());
    let timestamp = Some(timestamp).filter(|text| !text.is_empty());
    if timestamp.is_some_and(|text| text.parse::<f64>().is_err()) {
        return None;
    }
    Some(Sample {
        series: series.trim_end(),
        value,
        timestamp,
    })
}

/// Where name and labels of a sample end.
fn series(line: &str) -> Option<usize> {
    let name = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))?;
    let rest = &line[name..];
    let labels = rest.trim_start_matches([' ', '\t']);
    if !labels.starts_with('{') {
        let starts_well = line.starts_with(|c: char| !c.is_ascii_digit());
        return (name > 0 && starts_well).then_some(name);
    }
    let (mut quoted, mut escaped) = (false, false);
    for (index, c) in labels.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return Some(line.len() - labels.len() + index + 1),
            _ => {}
        }
    }
    None
}

/// Milliseconds as seconds.
fn seconds(milliseconds: &str) -> Option<String> {
    let milliseconds: i64 = milliseconds.parse().ok()?;
    let sign = if milliseconds < 0 { "-" } else { "" };
    let milliseconds = milliseconds.unsigned_abs();
    Some(format!(
        "{sign}{}.{:03}",
        milliseconds / 1000,
        milliseconds % 1000
    ))
}

/// A help text in OpenMetrics, where quotation marks are escaped as well.
fn quoted(help: &str) -> String {
    let mut text = String::with_capacity(help.len());
    let mut escaped = false;
    for c in help.chars() {
        if c == '"' && !escaped {
            text.push('\\');
        }
        escaped = c == '\\' && !escaped;
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENVOY: &str = "# TYPE envoy_cluster_upstream_cx_total counter\n\
        envoy_cluster_upstream_cx_total{cluster=\"a } b\"} 3\n\n\
        # TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n";

    fn merged(format: Format, parts: &[(&str, Format)]) -> String {
        let mut merged = Merged::new(format);
        for (part, format) in parts {
            merged.add(part, *format).unwrap();
        }
        merged.finish()
    }

    #[test]
    fn text_stays_as_it_is_but_for_what_is_described_twice() {
        let app = "# HELP go_goroutines Number\n# TYPE go_goroutines gauge\ngo_goroutines 7 1700000000123\n\
                   # TYPE envoy_server_live gauge\n# EOF\n# a remark\nup 1";
        insta::assert_snapshot!(merged(Format::Text, &[(ENVOY, Format::Text), (app, Format::Text)]), @r#"
        # TYPE envoy_cluster_upstream_cx_total counter
        envoy_cluster_upstream_cx_total{cluster="a } b"} 3
        # TYPE envoy_server_live gauge
        envoy_server_live{} 1
        # HELP go_goroutines Number
        # TYPE go_goroutines gauge
        go_goroutines 7 1700000000123
        up 1
        "#);
    }

    #[test]
    fn beside_open_metrics_text_is_written_as_such_and_the_end_comes_once() {
        let app = "# TYPE orders counter\n# UNIT orders items\norders_total 5 1700000000.5 # {id=\"x\"} 1\n# EOF\nlate 1\n";
        let text = "# HELP jobs Called \"jobs\"\n# TYPE jobs counter\njobs 2\n# TYPE odd untyped\nodd 1.5 -1500\n";
        let parts = [
            (ENVOY, Format::Text),
            (app, Format::OpenMetrics),
            (text, Format::Text),
        ];
        insta::assert_snapshot!(merged(Format::OpenMetrics, &parts), @r#"
        # TYPE envoy_cluster_upstream_cx counter
        envoy_cluster_upstream_cx_total{cluster="a } b"} 3
        # TYPE envoy_server_live gauge
        envoy_server_live{} 1
        # TYPE orders counter
        # UNIT orders items
        orders_total 5 1700000000.5 # {id="x"} 1
        # HELP jobs Called \"jobs\"
        # TYPE jobs unknown
        jobs 2
        # TYPE odd unknown
        odd 1.5 -1.500
        # EOF
        "#);
    }

    #[test]
    fn a_page_that_is_no_exposition_is_refused_as_a_whole() {
        let mut merged = Merged::new(Format::Text);
        merged.add("a 1\n", Format::Text).unwrap();
        let error = merged
            .add("b 2\n<!doctype html>\n", Format::Text)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2 is no metric: \"<!doctype html>\""
        );
        for broken in [
            "c",
            "c x",
            "c{a=\"b 1",
            "1c 1",
            "{\"error\": 1}",
            "c 1 soon",
            " = 3",
        ] {
            assert!(merged.add(broken, Format::Text).is_err(), "{broken}");
        }
        merged
            .add("d NaN\ne +Inf\n{\"f.g\",a=\"b\"} 1e-3\n", Format::Text)
            .unwrap();
        assert_eq!(
            merged.finish(),
            "a 1\nd NaN\ne +Inf\n{\"f.g\",a=\"b\"} 1e-3\n"
        );
    }

    #[test]
    fn the_content_type_tells_the_format() {
        let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(Format::of(open), Format::OpenMetrics);
        assert_eq!(Format::of("text/plain; version=0.0.4"), Format::Text);
        assert_eq!(Format::of(""), Format::Text);
    }

    proptest! {
        #[test]
        fn whatever_is_merged_can_be_merged_again_and_ends_once(
            parts in prop::collection::vec(("([a-z_]{1,8}(\\{[^\n]{0,8}\\})? [0-9.eE+-]{1,4}( [0-9]{1,4})?\n|# [A-Z]{4} [a-z]{1,3} [^\n]{0,9}\n|# EOF\n|\\PC{0,20}\n){0,6}", any::<bool>()), 0..4),
        ) {
            let any_open = parts.iter().any(|(_, open)| *open);
            let format = if any_open { Format::OpenMetrics } else { Format::Text };
            let mut merged = Merged::new(format);
            for (part, open) in &parts {
                let of = if *open { Format::OpenMetrics } else { Format::Text };
                let _ = merged.add(part, of);
            }
            let text = merged.finish();
            let ends = text.lines().filter(|line| *line == "# EOF").count();
            prop_assert_eq!(ends, usize::from(any_open));
            let mut again = Merged::new(format);
            prop_assert_eq!(again.add(&text, format), Ok(()));
            prop_assert_eq!(again.finish(), text);
        }
    }
}

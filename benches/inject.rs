//! AdmissionReview in, response out, without the network: `cargo bench --bench inject`.
//!
//! Prints how many allocations each answer takes, then its time.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a measurement that cannot start has nothing better to do"
)]

mod reviews;

use std::hint::black_box;
use std::sync::Arc;

use allocation_counter::measure;
use axum::http::{HeaderMap, HeaderValue, header};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use outrigger::api::mesh::MeshConfig;
use outrigger::inject::{Config, values::Values};
use outrigger::webhook::inject::{Injector, PATH};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::sync::watch;

fn answers(criterion: &mut Criterion) {
    let values = Values::over_defaults(&Value::Null).unwrap();
    let (config, _) = Config::new(values, MeshConfig::default(), true);
    let (_held, config) = watch::channel(Arc::new(config));
    let injector = Injector::new(config, &mut Registry::default());
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    let mut group = criterion.benchmark_group("inject");
    for (name, body) in reviews::all() {
        let answer = || injector.answer(PATH, &headers, black_box(&body));
        black_box(answer());
        let taken = measure(|| drop(black_box(answer())));
        println!(
            "{name}: {} bytes in, {} allocations, {} KiB allocated in all, {} KiB at most at a time",
            body.len(),
            taken.count_total,
            taken.bytes_total >> 10,
            taken.bytes_max >> 10,
        );
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(answer));
    }
    group.finish();
}

criterion_group!(benches, answers);
criterion_main!(benches);

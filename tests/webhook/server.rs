//! What the server answers and refuses, and how it ends.

use std::time::Duration;

use hyper::StatusCode;
use outrigger::webhook::server::Limits;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use super::serving::{DEADLINE, Server, pod, review};

/// Reads until the server closes the connection.
async fn until_closed(stream: &mut TlsStream<TcpStream>) -> Vec<u8> {
    let mut answer = Vec::new();
    // A cut connection may lack TLS' closing words; that it ends is what counts.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .expect("the server closes the connection");
    answer
}

#[tokio::test]
async fn a_pod_is_answered_in_the_version_it_was_asked_in() {
    let server = Server::start(Limits::default()).await;
    for version in ["v1", "v1beta1"] {
        let answer = server.review(&review(version, pod())).await;
        assert_eq!(answer["apiVersion"], format!("admission.k8s.io/{version}"));
        assert_eq!(answer["response"]["uid"], "uid-1");
        assert_eq!(answer["response"]["allowed"], true);
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
    }
}

#[tokio::test]
async fn a_pod_that_opts_out_is_allowed_without_a_patch() {
    let server = Server::start(Limits::default()).await;
    let mut pod = pod();
    pod["metadata"]["labels"]["sidecar.istio.io/inject"] = json!("false");
    let answer = server.review(&review("v1", pod)).await;
    assert_eq!(
        answer["response"],
        json!({ "uid": "uid-1", "allowed": true })
    );
}

#[tokio::test]
async fn a_bad_annotation_denies_the_pod_and_names_it() {
    let server = Server::start(Limits::default()).await;
    let mut pod = pod();
    pod["metadata"]["annotations"] = json!({ "sidecar.istio.io/proxyCPU": "lots" });
    let answer = server.review(&review("v1", pod)).await;
    assert_eq!(answer["response"]["allowed"], false);
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(message.contains("sidecar.istio.io/proxyCPU"), "{message}");
    assert!(message.contains("lots"), "{message}");
}

#[tokio::test]
async fn what_is_no_review_is_answered_with_an_error() {
    let server = Server::start(Limits::default()).await;
    let review = review("v1", pod()).to_string();

    let (status, _) = server.post("application/json", "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "empty body");
    let (status, _) = server.post("application/yaml", review).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);

    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_pod = json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1" })
        .to_string()
        .replace('}', &format!(",\"request\":{{\"object\":{deep}}}}}"));
    for undecodable in [
        "\u{1}\u{2}random".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        deep,
        deep_pod,
        json!({ "apiVersion": "admission.k8s.io/v9", "kind": "AdmissionReview", "request": {} }).to_string(),
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "Pod", "request": {} }).to_string(),
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview" }).to_string(),
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {} }).to_string(),
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": { "object": 1 } }).to_string(),
    ] {
        let shown: String = undecodable.chars().take(80).collect();
        let (status, body) = server.post("application/json", undecodable).await;
        assert_eq!(status, StatusCode::OK, "{shown}");
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["response"]["allowed"], false, "{shown}");
        let message = answer["response"]["status"]["message"].as_str().unwrap();
        assert!(!message.is_empty(), "{shown}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let limits = Limits {
        body: 1000,
        ..Limits::default()
    };
    let server = Server::start(limits).await;
    let (status, _) = server.post("application/json", "x".repeat(1001)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);

    let mut stream = server.connect().await;
    let head = "POST /inject HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("258\r\n{}\r\n", "x".repeat(0x258));
    stream.write_all(chunk.repeat(2).as_bytes()).await.unwrap();
    let answer = until_closed(&mut stream).await;
    assert!(
        answer.starts_with(b"HTTP/1.1 413 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn a_hundred_megabytes_are_refused_when_they_are_announced_and_others_are_served() {
    let server = Server::start(Limits::default()).await;
    let mut stream = server.connect().await;
    let head = format!(
        "POST /inject HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        100 << 20
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = until_closed(&mut stream).await;
    assert!(
        answer.starts_with(b"HTTP/1.1 413 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let answer = server.review(&review("v1", pod())).await;
    assert_eq!(answer["response"]["allowed"], true);
}

#[tokio::test]
async fn what_is_no_new_pod_is_left_alone() {
    let server = Server::start(Limits::default()).await;
    for (field, value) in [
        ("operation", json!("UPDATE")),
        ("operation", json!("DELETE")),
        ("subResource", json!("ephemeralcontainers")),
        (
            "kind",
            json!({ "group": "", "version": "v1", "kind": "Binding" }),
        ),
    ] {
        let mut review = review("v1", pod());
        review["request"][field] = value;
        let answer = server.review(&review).await;
        assert_eq!(
            answer["response"],
            json!({ "uid": "uid-1", "allowed": true }),
            "{field}"
        );
    }
}

#[tokio::test]
async fn large_bodies_wait_for_each_other_and_small_ones_for_none() {
    let limits = Limits {
        large_bodies: 100 << 10,
        ..Limits::default()
    };
    let server = Server::start(limits).await;
    // Announced and not sent: it keeps its room for as long as its time is.
    let mut large = server.connect().await;
    let head = "POST /inject HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\nexpect: 100-continue\r\n\r\n";
    large.write_all(head.as_bytes()).await.unwrap();
    timeout(DEADLINE, large.read_exact(&mut [0; 25]))
        .await
        .unwrap()
        .unwrap();

    let second = server.post("application/json", "x".repeat(100_000));
    tokio::pin!(second);
    assert!(
        timeout(Duration::from_millis(300), &mut second)
            .await
            .is_err()
    );
    let answer = server.review(&review("v1", pod())).await;
    assert_eq!(answer["response"]["allowed"], true);
    drop(large);
    let (status, _) = timeout(DEADLINE, second).await.unwrap();
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn clients_that_dawdle_are_cut_at_every_stage() {
    let limits = Limits {
        handshake_time: Duration::from_millis(200),
        header_time: Duration::from_millis(200),
        body_time: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = Server::start(limits).await;

    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let ended = timeout(DEADLINE, silent.read(&mut [0; 1])).await;
    assert_eq!(ended.expect("no handshake").unwrap_or(0), 0);

    let mut headers = server.connect().await;
    headers
        .write_all(b"POST /inject HTTP/1.1\r\nhost: a\r\nx-")
        .await
        .unwrap();
    assert!(until_closed(&mut headers).await.is_empty());

    let mut body = server.connect().await;
    let head =
        b"POST /inject HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 10\r\n\r\n{";
    body.write_all(head).await.unwrap();
    let answer = until_closed(&mut body).await;
    assert!(
        answer.starts_with(b"HTTP/1.1 408 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );

    let answer = server.review(&review("v1", pod())).await;
    assert_eq!(
        answer["response"]["allowed"], true,
        "others are served as before"
    );
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_free_place() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let server = Server::start(limits).await;
    let first = server.connect().await;
    let review = review("v1", pod());
    let second = server.review(&review);
    tokio::pin!(second);
    // The second cannot even shake hands while the first is there, however long one looks.
    assert!(
        timeout(Duration::from_millis(300), &mut second)
            .await
            .is_err()
    );
    drop(first);
    let answer = timeout(DEADLINE, second).await.unwrap();
    assert_eq!(answer["response"]["allowed"], true);
}

#[tokio::test]
async fn shutdown_answers_the_call_in_flight_and_ends() {
    let mut server = Server::start(Limits::default()).await;
    let review = review("v1", pod()).to_string();
    let mut stream = server.connect().await;
    let head = format!(
        "POST /inject HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        review.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body once it has the headers: the call is in flight for certain.
    let mut interim = [0; 25];
    timeout(DEADLINE, stream.read_exact(&mut interim))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");

    server.begin_shutdown();
    // The listener is closed when new connections are refused.
    timeout(DEADLINE, async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    stream.write_all(review.as_bytes()).await.unwrap();
    let answer = String::from_utf8(until_closed(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\"allowed\":true"), "{answer}");
    timeout(DEADLINE, server.done).await.unwrap().unwrap();
}

#[tokio::test]
async fn shutdown_does_not_wait_for_idle_connections() {
    let mut server = Server::start(Limits::default()).await;
    let mut idle = server.connect().await;
    server.begin_shutdown();
    timeout(DEADLINE, server.done).await.unwrap().unwrap();
    assert!(until_closed(&mut idle).await.is_empty());
}

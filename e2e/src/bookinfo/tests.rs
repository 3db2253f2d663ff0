use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

/// Serves on a port of loopback until the test ends; returns its address.
async fn start(service: Service, version: Version, peers: &Peers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve(
        listener,
        service,
        version,
        peers.clone(),
        std::future::pending(),
    ));
    address
}

/// Nobody listens on port 1 of loopback.
fn nobody() -> Peers {
    Peers {
        details: "127.0.0.1:1".into(),
        reviews: "127.0.0.1:1".into(),
        ratings: "127.0.0.1:1".into(),
    }
}

async fn page(version: Version, ratings_up: bool) -> (StatusCode, String, String, String) {
    let mut peers = nobody();
    if ratings_up {
        peers.ratings = start(Service::Ratings, Version::V1, &nobody()).await;
    }
    peers.details = start(Service::Details, Version::V1, &nobody()).await;
    peers.reviews = start(Service::Reviews, version, &peers).await;
    let address = start(Service::Productpage, Version::V1, &peers).await;
    let uri = format!("http://{address}/productpage").parse().unwrap();
    let answer = Client::new(Duration::from_secs(5))
        .get(&uri, HeaderMap::new())
        .await
        .unwrap();
    let header = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    (
        answer.status,
        header(REVIEWS_VERSION_HEADER),
        header(RATINGS_HEADER),
        body,
    )
}

#[tokio::test]
async fn the_page_says_which_reviews_answered_and_whether_ratings_were_there() {
    let (status, version, ratings, body) = page(Version::V1, true).await;
    assert_eq!(
        (status, version.as_str(), ratings.as_str()),
        (StatusCode::OK, "v1", "none")
    );
    assert!(
        body.contains("William Shakespeare") && !body.contains('★'),
        "{body}"
    );
    let (_, version, ratings, body) = page(Version::V3, true).await;
    assert_eq!((version.as_str(), ratings.as_str()), ("v3", "available"));
    assert!(
        body.contains("color:red") && body.contains("★★★★★"),
        "{body}"
    );
    let (status, version, ratings, body) = page(Version::V2, false).await;
    assert_eq!(
        (status, version.as_str(), ratings.as_str()),
        (StatusCode::OK, "v2", "unavailable")
    );
    assert!(body.contains("Ratings are not available"), "{body}");
}

#[tokio::test]
async fn the_page_survives_without_its_peers_and_names_what_is_missing() {
    let address = start(Service::Productpage, Version::V1, &nobody()).await;
    let client = Client::new(Duration::from_secs(5));
    let answer = client
        .get(
            &format!("http://{address}/").parse().unwrap(),
            HeaderMap::new(),
        )
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers[REVIEWS_VERSION_HEADER], "none");
    assert!(String::from_utf8_lossy(&answer.body).contains("No product details right now"));
    let reviews = format!("http://{address}/api/v1/products/0/reviews")
        .parse()
        .unwrap();
    assert_eq!(
        client.get(&reviews, HeaderMap::new()).await.unwrap().status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn trace_and_user_headers_travel_to_the_next_service_and_others_do_not() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let record = move |request: Request| async move {
        sender.send(request.headers().clone()).unwrap();
        Response::new(Body::from("{}"))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peers = Peers {
        details: listener.local_addr().unwrap().to_string(),
        ..nobody()
    };
    let recorder = axum::Router::new().route("/details/7", get(record));
    tokio::spawn(async move { axum::serve(listener, recorder).await });
    let address = start(Service::Productpage, Version::V1, &peers).await;
    let headers = HeaderMap::from_iter(
        [
            ("traceparent", "00-1-2-01"),
            ("end-user", "jason"),
            ("x-other", "stays"),
        ]
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))),
    );
    let uri = format!("http://{address}/api/v1/products/7")
        .parse()
        .unwrap();
    let answer = Client::new(Duration::from_secs(5))
        .get(&uri, headers)
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    let seen = seen.recv().await.unwrap();
    assert_eq!(seen["traceparent"], "00-1-2-01");
    assert_eq!(seen["end-user"], "jason");
    assert!(!seen.contains_key("x-other"), "{seen:?}");
}

#[tokio::test]
async fn every_service_answers_its_health_check() {
    for service in [
        Service::Productpage,
        Service::Details,
        Service::Reviews,
        Service::Ratings,
    ] {
        let address = start(service, Version::V1, &nobody()).await;
        let uri = format!("http://{address}/health").parse().unwrap();
        let answer = Client::new(Duration::from_secs(5))
            .get(&uri, HeaderMap::new())
            .await
            .unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{service:?}");
    }
}

//! The four services as routers.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::{Client, PORT, Service, Version, page};

/// How long `productpage` waits for one of its calls.
const PAGE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long `reviews` waits for `ratings`: shorter than the page waits for it, so that the page still shows the texts.
const RATINGS_TIMEOUT: Duration = Duration::from_millis(2500);

/// Whom the services call, as `host` or `host:port`.
#[derive(Clone, Debug)]
pub struct Peers {
    /// Host of `details`.
    pub details: String,
    /// Host of `reviews`.
    pub reviews: String,
    /// Host of `ratings`.
    pub ratings: String,
}

/// What the handlers of one service share.
struct App {
    version: Version,
    peers: Peers,
    client: Client,
}

type Shared = State<Arc<App>>;

/// The routes of one service.
pub fn router(service: Service, version: Version, peers: Peers) -> Router {
    let timeout = match service {
        Service::Reviews => RATINGS_TIMEOUT,
        Service::Productpage | Service::Details | Service::Ratings => PAGE_TIMEOUT,
    };
    let peers = Peers {
        details: authority(&peers.details),
        reviews: authority(&peers.reviews),
        ratings: authority(&peers.ratings),
    };
    let routes = match service {
        Service::Productpage => Router::new()
            .route("/", get(product_page))
            .route("/productpage", get(product_page))
            .route("/api/v1/products", get(products))
            .route("/api/v1/products/{id}", get(product_details))
            .route("/api/v1/products/{id}/reviews", get(product_reviews))
            .route("/api/v1/products/{id}/ratings", get(product_ratings)),
        Service::Details => Router::new().route("/details/{id}", get(details)),
        Service::Reviews => Router::new().route("/reviews/{id}", get(reviews)),
        Service::Ratings => Router::new().route("/ratings/{id}", get(ratings)),
    };
    let app = App {
        version,
        peers,
        client: Client::new(timeout),
    };
    routes
        .route(
            "/health",
            get(|| async { reply(json!({"status": "healthy"})) }),
        )
        .with_state(Arc::new(app))
}

/// `host` with bookinfo's port unless it names one.
fn authority(host: &str) -> String {
    if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:{PORT}")
    }
}

fn reply(body: Value) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

/// A peer's document, or 503 with the reason.
fn relay(answer: anyhow::Result<Value>) -> Response {
    match answer {
        Ok(document) => reply(document),
        Err(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            reply(json!({"error": format!("{error:#}")})),
        )
            .into_response(),
    }
}

/// Where this answer comes from: the pod, as the sample says it, and the version.
fn origin(app: &App) -> Value {
    json!({"podname": env::var("HOSTNAME").unwrap_or_default(), "version": app.version.as_str()})
}

async fn product_page(State(app): Shared, headers: HeaderMap) -> Response {
    let (details, reviews) = tokio::join!(
        app.client
            .get_json(&app.peers.details, "/details/0", &headers),
        app.client
            .get_json(&app.peers.reviews, "/reviews/0", &headers),
    );
    let summary = page::Summary::of(reviews.as_ref().ok());
    let html = page::render(&details, &reviews, &summary);
    (summary.headers(), Html(html)).into_response()
}

async fn products() -> Response {
    reply(json!([{
        "id": 0,
        "title": "The Comedy of Errors",
        "descriptionHtml": "A play by William Shakespeare: two pairs of twins, one day, no end of mistakes.",
    }]))
}

async fn product_details(State(app): Shared, Path(id): Path<u32>, headers: HeaderMap) -> Response {
    relay(
        app.client
            .get_json(&app.peers.details, &format!("/details/{id}"), &headers)
            .await,
    )
}

async fn product_reviews(State(app): Shared, Path(id): Path<u32>, headers: HeaderMap) -> Response {
    relay(
        app.client
            .get_json(&app.peers.reviews, &format!("/reviews/{id}"), &headers)
            .await,
    )
}

async fn product_ratings(State(app): Shared, Path(id): Path<u32>, headers: HeaderMap) -> Response {
    relay(
        app.client
            .get_json(&app.peers.ratings, &format!("/ratings/{id}"), &headers)
            .await,
    )
}

async fn details(Path(id): Path<u32>) -> Response {
    reply(json!({
        "id": id,
        "author": "William Shakespeare",
        "year": 1595,
        "type": "paperback",
        "pages": 200,
        "publisher": "PublisherA",
        "language": "English",
        "ISBN-10": "1234567890",
        "ISBN-13": "123-1234567890",
    }))
}

async fn reviews(State(app): Shared, Path(id): Path<u32>, headers: HeaderMap) -> Response {
    let mut reviews = [
        json!({"reviewer": "Reviewer1", "text": "I laughed at every mistake, and then at the next one."}),
        json!({"reviewer": "Reviewer2", "text": "Quick, warm and silly; lighter than the tragedies."}),
    ];
    if let Some(color) = app.version.star_color() {
        let ratings = app
            .client
            .get_json(&app.peers.ratings, &format!("/ratings/{id}"), &headers)
            .await;
        for review in &mut reviews {
            let stars = ratings.as_ref().map(|r| {
                review["reviewer"]
                    .as_str()
                    .and_then(|who| r["ratings"][who].as_u64())
            });
            review["rating"] = match stars {
                Ok(stars) => json!({"stars": stars, "color": color}),
                Err(error) => json!({"error": format!("{error:#}")}),
            };
        }
    }
    let mut answer = origin(&app);
    answer["id"] = id.to_string().into();
    answer["reviews"] = reviews.to_vec().into();
    reply(answer)
}

async fn ratings(Path(id): Path<u32>) -> Response {
    reply(json!({"id": id, "ratings": {"Reviewer1": 5, "Reviewer2": 4}}))
}

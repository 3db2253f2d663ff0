//! The page of `productpage`, and its summary for scripts.

use std::fmt::Write as _;

use serde_json::Value;

/// Response header of `productpage`: the version of `reviews` that answered, or `none`.
pub const REVIEWS_VERSION_HEADER: &str = "bookinfo-reviews-version";
/// Response header of `productpage`: `available`, `unavailable` (asked for in vain) or `none` (not asked for).
pub const RATINGS_HEADER: &str = "bookinfo-ratings";

/// What the page was made from, in a word each.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    reviews_version: &'static str,
    ratings: &'static str,
}

impl Summary {
    /// Reads it from the answer of `reviews`, if there is one.
    pub fn of(reviews: Option<&Value>) -> Self {
        let Some(reviews) = reviews else {
            return Self {
                reviews_version: "none",
                ratings: "none",
            };
        };
        let reviews_version = match reviews["version"].as_str() {
            Some("v1") => "v1",
            Some("v2") => "v2",
            Some("v3") => "v3",
            _ => "unknown",
        };
        let ratings = match &reviews["reviews"][0]["rating"] {
            Value::Null => "none",
            rating if rating["stars"].is_u64() => "available",
            _ => "unavailable",
        };
        Self {
            reviews_version,
            ratings,
        }
    }

    /// As response headers.
    pub fn headers(&self) -> [(&'static str, &'static str); 2] {
        [
            (REVIEWS_VERSION_HEADER, self.reviews_version),
            (RATINGS_HEADER, self.ratings),
        ]
    }
}

/// The page; what could not be fetched is named in its place.
pub fn render(
    details: &anyhow::Result<Value>,
    reviews: &anyhow::Result<Value>,
    summary: &Summary,
) -> String {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Simple Bookstore App</title></head><body>\n\
         <h1>The Comedy of Errors</h1>\n<h2>Book Details</h2>\n",
    );
    match details {
        Ok(details) => definitions(&mut html, details),
        Err(error) => unavailable(&mut html, "product details", error),
    }
    html.push_str("<h2>Book Reviews</h2>\n");
    match reviews {
        Ok(document) => {
            for review in document["reviews"].as_array().into_iter().flatten() {
                quote(&mut html, review);
            }
            // Writing to a String cannot fail.
            let _ = writeln!(
                html,
                "<p>Reviews served by: <u>{}</u>, version {}; ratings: {}</p>",
                text(&document["podname"]),
                summary.reviews_version,
                summary.ratings
            );
        }
        Err(error) => unavailable(&mut html, "product reviews", error),
    }
    html.push_str("</body></html>\n");
    html
}

fn definitions(html: &mut String, details: &Value) {
    html.push_str("<dl>\n");
    for (key, value) in details.as_object().into_iter().flatten() {
        let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escape(key), text(value));
    }
    html.push_str("</dl>\n");
}

fn quote(html: &mut String, review: &Value) {
    let _ = write!(
        html,
        "<blockquote><p>{}</p><small>{}</small>",
        text(&review["text"]),
        text(&review["reviewer"])
    );
    let rating = &review["rating"];
    if let Some(stars) = rating["stars"].as_u64() {
        let stars = "★".repeat(usize::try_from(stars.min(5)).unwrap_or_default());
        let _ = write!(
            html,
            " <span style=\"color:{}\">{stars}</span>",
            text(&rating["color"])
        );
    } else if !rating.is_null() {
        html.push_str(" <i>Ratings are not available right now</i>");
    }
    html.push_str("</blockquote>\n");
}

fn unavailable(html: &mut String, what: &str, error: &anyhow::Error) {
    let _ = writeln!(
        html,
        "<p>No {what} right now: {}</p>",
        escape(&format!("{error:#}"))
    );
}

/// A JSON value as text of a page.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => escape(text),
        other => escape(&other.to_string()),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

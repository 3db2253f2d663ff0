//! `AdmissionReview` as JSON: read leniently, answered in the version in which it was asked.

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use k8s_openapi::ByteString;
use serde::{Serialize, de::DeserializeSeed as _};
use serde_json::{Map, Value};

use crate::{
    api::depth::{Bounded, LEVELS},
    inject::patch::Operation,
};

/// API group and kind of reviews.
const GROUP: &str = "admission.k8s.io";
const KIND: &str = "AdmissionReview";
/// How much of a text that is none of these is repeated, in bytes.
const SHOWN: usize = 120;
/// Levels of a review around its objects, of which as much is read as elsewhere.
const AROUND: usize = 2;
/// Versions that are answered.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// A question of the API server.
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    api_version: String,
    uid: String,
    request: Map<String, Value>,
}

/// The body is no question that can be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// Answered with 400.
    #[error("the body is empty, it must be an AdmissionReview")]
    EmptyBody,
    /// Answered with 415.
    #[error("the content type is {0:?}, it must be \"application/json\"")]
    ContentType(String),
    /// Answered with a review that does not allow.
    #[error("the body cannot be decoded: {0}")]
    Undecodable(String),
    /// Answered with a review that does not allow.
    #[error("{0}")]
    NotAReview(String),
}

impl Review {
    /// Reads a request's headers and body.
    ///
    /// # Errors
    /// What is wrong with them; [`ReviewError::into_response`] is the answer.
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, ReviewError> {
        if body.is_empty() {
            return Err(ReviewError::EmptyBody);
        }
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type != "application/json" {
            return Err(ReviewError::ContentType(content_type.to_owned()));
        }
        let undecodable = |error: serde_json::Error| ReviewError::Undecodable(error.to_string());
        let mut parser = serde_json::Deserializer::from_slice(body);
        let review = Bounded(AROUND + LEVELS).deserialize(&mut parser);
        let review = review.map_err(undecodable)?;
        parser.end().map_err(undecodable)?;
        Self::from_json(review)
    }

    fn from_json(mut review: Value) -> Result<Self, ReviewError> {
        let text = |field: &str| {
            review
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (kind, api_version) = (text("kind"), text("apiVersion"));
        let known = api_version
            .strip_prefix(GROUP)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|version| VERSIONS.contains(&version));
        if kind != KIND || !known {
            let [kind, api_version] = [kind, api_version].map(beginning);
            return Err(ReviewError::NotAReview(format!(
                "this is {kind:?} of {api_version:?}, it must be {KIND:?} of \"{GROUP}/v1\" or \"{GROUP}/v1beta1\""
            )));
        }
        let api_version = api_version.to_owned();
        match review.get_mut("request").map(Value::take) {
            Some(Value::Object(request)) => Ok(Self {
                api_version,
                uid: text_of(&request, "uid").to_owned(),
                request,
            }),
            _ => Err(ReviewError::NotAReview(
                "request: must be an object".to_owned(),
            )),
        }
    }

    /// A text field of the request; absent is empty.
    pub fn text(&self, field: &str) -> &str {
        text_of(&self.request, field)
    }

    /// A text field of an object of the request, such as `kind.kind`; absent is empty.
    pub fn inner_text(&self, object: &str, field: &str) -> &str {
        self.request
            .get(object)
            .and_then(Value::as_object)
            .map_or("", |object| text_of(object, field))
    }

    /// The object under review as it shall become; `None` for a deletion.
    pub fn object(&self) -> Option<&Value> {
        self.request
            .get("object")
            .filter(|object| !object.is_null())
    }

    /// The object as it was before an update or deletion.
    pub fn old_object(&self) -> Option<&Value> {
        self.request
            .get("oldObject")
            .filter(|object| !object.is_null())
    }

    /// Whether nothing will be stored, so nothing else may happen either.
    pub fn is_dry_run(&self) -> bool {
        self.request.get("dryRun").and_then(Value::as_bool) == Some(true)
    }

    /// Lets the object pass, changed by `patch` if there is one.
    pub fn allow(&self, patch: &[Operation<'_>], warnings: &[String]) -> Response {
        let mut answer = Answer::new(&self.uid, warnings);
        if !patch.is_empty() {
            match serde_json::to_vec(patch) {
                Ok(patch) => answer.patch = Some(ByteString(patch)),
                Err(error) => return self.deny(&format!("cannot write the patch: {error}"), &[]),
            }
            answer.patch_type = Some("JSONPatch");
        }
        answer.allowed = true;
        answer.into_response(&self.api_version)
    }

    /// Refuses the object; the message reaches whoever sent it.
    pub fn deny(&self, message: &str, warnings: &[String]) -> Response {
        let mut answer = Answer::new(&self.uid, warnings);
        answer.status = Some(Refusal::of(message));
        answer.into_response(&self.api_version)
    }
}

/// `response` of a review.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Refusal<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<ByteString>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

/// Why an object is refused, as a `Status` of the API.
#[derive(Serialize)]
struct Refusal<'a> {
    message: &'a str,
    code: u16,
    reason: &'static str,
}

impl<'a> Refusal<'a> {
    fn of(message: &'a str) -> Self {
        Self {
            message,
            code: 400,
            reason: "BadRequest",
        }
    }
}

/// The whole answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnsweredReview<'a> {
    api_version: &'a str,
    kind: &'static str,
    response: Answer<'a>,
}

impl<'a> Answer<'a> {
    /// One that does not allow.
    fn new(uid: &'a str, warnings: &'a [String]) -> Self {
        Self {
            uid,
            allowed: false,
            status: None,
            patch_type: None,
            patch: None,
            warnings,
        }
    }

    fn into_response(self, api_version: &str) -> Response {
        let review = AnsweredReview {
            api_version,
            kind: KIND,
            response: self,
        };
        let body = match serde_json::to_vec(&review) {
            Ok(body) => Body::from(body),
            Err(error) => {
                let mut response = Response::new(Body::from(format!("{error}\n")));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                return response;
            }
        };
        let mut response = Response::new(body);
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/json"),
        );
        response
    }
}

impl ReviewError {
    /// What the client is told.
    pub fn into_response(self) -> Response {
        let message = self.to_string();
        let status = match self {
            Self::EmptyBody => StatusCode::BAD_REQUEST,
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Undecodable(_) | Self::NotAReview(_) => {
                let mut answer = Answer::new("", &[]);
                answer.status = Some(Refusal::of(&message));
                return answer.into_response("admission.k8s.io/v1");
            }
        };
        let mut response = Response::new(Body::from(message + "\n"));
        *response.status_mut() = status;
        response
    }
}

/// As much of a text as an answer or a log repeats; bodies have megabytes.
pub(super) fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN)]
}

fn text_of<'v>(object: &'v Map<String, Value>, field: &str) -> &'v str {
    object
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

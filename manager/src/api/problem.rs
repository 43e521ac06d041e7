//! Errors as RFC 9457 problem documents: what, why, and what to do.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use holdfast_model::id::Revision;
use holdfast_store::StoreError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Codes, each with its HTTP status and title. The code is the stable part.
const KINDS: &[(&str, StatusCode, &str)] = &[
    (
        "bad-request",
        StatusCode::BAD_REQUEST,
        "The request cannot be read",
    ),
    ("bad-name", StatusCode::BAD_REQUEST, "This is not a name"),
    ("not-found", StatusCode::NOT_FOUND, "There is no such thing"),
    (
        "method-not-allowed",
        StatusCode::METHOD_NOT_ALLOWED,
        "Not with this method",
    ),
    (
        "invalid",
        StatusCode::UNPROCESSABLE_ENTITY,
        "The content is refused",
    ),
    (
        "stale-revision",
        StatusCode::CONFLICT,
        "It was changed in the meantime",
    ),
    ("duplicate", StatusCode::CONFLICT, "It is taken"),
    ("not-possible", StatusCode::CONFLICT, "Not possible now"),
    (
        "no-quorum",
        StatusCode::SERVICE_UNAVAILABLE,
        "etcd has no majority",
    ),
    (
        "wrong-cluster",
        StatusCode::SERVICE_UNAVAILABLE,
        "This is another cluster's etcd",
    ),
    (
        "outcome-unknown",
        StatusCode::SERVICE_UNAVAILABLE,
        "Nobody knows whether it happened",
    ),
    (
        "contended",
        StatusCode::SERVICE_UNAVAILABLE,
        "Others keep changing it",
    ),
    (
        "unreadable",
        StatusCode::INTERNAL_SERVER_ERROR,
        "This version cannot read it",
    ),
    (
        "internal",
        StatusCode::INTERNAL_SERVER_ERROR,
        "Something went wrong here",
    ),
];

/// A problem document. Boxed: it is the rare side of most results here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Problem(Box<Document>);

/// The members of a problem document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// A URI that stands for the kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request, and what to do.
    pub detail: String,
    /// A stable word for scripts.
    pub code: String,
    /// More, by kind.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        let known = KINDS.iter().find(|(known, ..)| *known == code);
        let (code, status, title) = known.copied().unwrap_or((
            "internal",
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong here",
        ));
        Self(Box::new(Document {
            kind: format!("https://holdfast.dev/problems/{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            more: Map::new(),
        }))
    }

    /// Adds a member.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(key.to_owned(), value.into());
        self
    }

    /// Somebody changed the record since the caller read it.
    pub fn stale(what: &str, yours: Revision, current: Option<Revision>) -> Self {
        let now = match current {
            Some(current) => format!("it is at revision {current} now"),
            None => "it does not exist now".to_owned(),
        };
        Self::new(
            "stale-revision",
            format!(
                "{what} was read at revision {yours}, but {now}; read it again and redo the change"
            ),
        )
        .with("yours", yours.0)
        .with(
            "current",
            current.map_or(Value::Null, |revision| json!(revision.0)),
        )
    }

    /// The store's error.
    pub fn store(error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => Self::new(
                "no-quorum",
                format!(
                    "{error}; nothing was changed. VMs are not started or moved until a majority \
                     of etcd's members answers: see `holdfast status`, and bring members back"
                ),
            ),
            StoreError::OutcomeUnknown { .. } => Self::new(
                "outcome-unknown",
                format!("{error}. Look whether it did before asking again"),
            ),
            StoreError::Compacted(_) => Self::new("internal", error.to_string()),
            StoreError::Refused(_) => Self::new("invalid", error.to_string()),
        }
    }
}

impl std::ops::Deref for Problem {
    type Target = Document;

    fn deref(&self) -> &Document {
        &self.0
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        (status, kind, body).into_response()
    }
}

//! What comes with a request: names in the path, options in the query, a body, and who asks. Each
//! is refused with a problem document that says what is expected.

use super::problem::Problem;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::{HeaderMap, header, request::Parts};
use holdfast_model::id::NameError;
use holdfast_strict::{Format, nearest, read};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The name in the path.
pub struct Name<T>(pub T);

impl<S, T> FromRequestParts<S> for Name<T>
where
    S: Send + Sync,
    T: FromStr<Err = NameError>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::new("bad-request", error.body_text()))?;
        name(&text).map(Self)
    }
}

/// A name out of a text.
pub fn name<T: FromStr<Err = NameError>>(text: &str) -> Result<T, Problem> {
    T::from_str(text).map_err(|error| Problem::new("bad-name", error.to_string()))
}

/// The options of the query, each known by name.
#[derive(Debug, Default)]
pub struct Options(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Options {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::<BTreeMap<String, String>>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::new("bad-request", error.body_text()))?;
        Ok(Self(pairs))
    }
}

impl Options {
    /// Refuses every option but these.
    pub fn only(self, known: &[&str]) -> Result<Self, Problem> {
        let Some(other) = self.0.keys().find(|key| !known.contains(&key.as_str())) else {
            return Ok(self);
        };
        let advice = match nearest(other, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "none is known here".to_owned(),
            None => format!("known here: {}", known.join(", ")),
        };
        Err(Problem::new(
            "bad-request",
            format!("unknown option `{other}` in the query; {advice}"),
        ))
    }

    /// The text of an option.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// An option that is on, off or left out (off). `?dry_run` alone is on.
    pub fn flag(&self, key: &str) -> Result<bool, Problem> {
        match self.text(key) {
            None | Some("false" | "0" | "no") => Ok(false),
            Some("" | "true" | "1" | "yes") => Ok(true),
            Some(other) => {
                let detail = format!("`{key}` is `{other}`; write `{key}=true` or leave it out");
                Err(Problem::new("bad-request", detail))
            }
        }
    }

    /// A number.
    pub fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, Problem> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                let detail = format!("`{key}` is `{text}`, which is not a whole number here");
                Problem::new("bad-request", detail)
            })
        };
        self.text(key).map(parse).transpose()
    }

    /// A name.
    pub fn name<T: FromStr<Err = NameError>>(&self, key: &str) -> Result<Option<T>, Problem> {
        self.text(key).map(name).transpose()
    }
}

/// A body that is read strictly, as TOML or JSON by its content type.
pub struct Body<T>(pub T);

impl<S, T> FromRequest<S> for Body<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let toml = kind
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|k| k.contains("toml"));
        let format = if toml { Format::Toml } else { Format::Json };
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|error| Problem::new("bad-request", error.body_text()))?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Problem::new("bad-request", "the body is not UTF-8 text"))?;
        read(text, format, "the body")
            .map(Self)
            .map_err(|error| Problem::new("invalid", error.to_string()))
    }
}

/// Who asks, as they say: for events and for the audit of a confirmation.
pub struct Asker(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(asker(&parts.headers)))
    }
}

fn asker(headers: &HeaderMap) -> String {
    let given = headers
        .get("x-holdfast-user")
        .and_then(|value| value.to_str().ok());
    let clean: String = given
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_graphic())
        .take(64)
        .collect();
    if clean.is_empty() {
        "the API".to_owned()
    } else {
        clean
    }
}

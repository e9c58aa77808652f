//! Single requests to an API server: impersonation by header, bounded answers, bounded time.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::client::Body;
use kube::core::Status;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::{Failure, Identity, Refusal};

/// Largest answer accepted for one object or one page of a list.
pub(crate) const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
/// Requests under way to one cluster at most.
const MOST_ABREAST: usize = 64;
/// How often a request is sent at most.
const ATTEMPTS: u32 = 3;
/// The longest pause the server may ask for before the request fails instead.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(crate) const JSON: &str = "application/json";
pub(crate) const METADATA: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
pub(crate) const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
pub(crate) const APPLY_PATCH: &str = "application/apply-patch+yaml";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";

/// One request.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) accept: &'static str,
    pub(crate) content: Option<(&'static str, &'a [u8])>,
}

impl<'a> Call<'a> {
    pub(crate) fn get(path: String, accept: &'static str) -> Self {
        Self { method: Method::GET, path, accept, content: None }
    }

    pub(crate) fn patch(path: String, kind: &'static str, body: &'a [u8]) -> Self {
        Self { method: Method::PATCH, path, accept: JSON, content: Some((kind, body)) }
    }
}

/// What the server answered to a request that succeeded.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

#[derive(Clone)]
pub(crate) struct Transport {
    client: kube::Client,
    timeout: Duration,
    /// One permit for each request that is under way; watches need none.
    places: Arc<Semaphore>,
}

impl Transport {
    pub(crate) fn new(client: kube::Client, timeout: Duration) -> Self {
        Self { client, timeout, places: Arc::new(Semaphore::new(MOST_ABREAST)) }
    }

    pub(crate) fn client(&self) -> &kube::Client {
        &self.client
    }

    /// Sends a request; once more when the server is busy, or when a connection broke and sending
    /// again does no harm.
    pub(crate) async fn send(&self, who: &Identity, call: &Call<'_>) -> Result<Answer, Failure> {
        let mut attempt = 1;
        loop {
            let failure = match self.send_once(who, call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let pause = match &failure {
                Failure::Refused(refusal) if refusal.code == 429 || refusal.code == 503 => {
                    refusal.retry_after.unwrap_or(Duration::from_millis(500))
                }
                Failure::Transport(_) if repeatable(call) => Duration::from_millis(100),
                _ => return Err(failure),
            };
            if attempt >= ATTEMPTS || pause > LONGEST_PAUSE {
                return Err(failure);
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
        }
    }

    async fn send_once(&self, who: &Identity, call: &Call<'_>) -> Result<Answer, Failure> {
        let request = request(who, call)?;
        let closed = |_| Failure::Transport("the connection is closed".to_owned());
        let _place = self.places.acquire().await.map_err(closed)?;
        let exchange = async {
            let response =
                self.client.send(request).await.map_err(|error| Failure::Transport(chain(&error)))?;
            let (parts, body) = response.into_parts();
            let bytes = Limited::new(body, LARGEST_ANSWER)
                .collect()
                .await
                .map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                    Some(_) => Failure::TooLarge(LARGEST_ANSWER),
                    None => Failure::Transport(chain(error.as_ref())),
                })?
                .to_bytes();
            Ok((parts, bytes))
        };
        let (parts, bytes) = tokio::time::timeout(self.timeout, exchange)
            .await
            .map_err(|_| Failure::Timeout(self.timeout))??;
        if !parts.status.is_success() {
            let pause = parts
                .headers
                .get(header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .map(Duration::from_secs);
            return Err(Failure::Refused(Box::new(refusal(parts.status, &bytes, pause))));
        }
        // The answer itself may hold secrets, so it never becomes part of the error.
        let body = serde_json::from_slice(&bytes).map_err(|_| Failure::Malformed("JSON"))?;
        Ok(Answer { status: parts.status, body })
    }
}

fn repeatable(call: &Call<'_>) -> bool {
    call.method == Method::GET || call.content.is_some_and(|(kind, _)| kind == APPLY_PATCH)
}

fn request(who: &Identity, call: &Call<'_>) -> Result<Request<Body>, Failure> {
    let mut builder =
        Request::builder().method(call.method.clone()).uri(&call.path).header(header::ACCEPT, call.accept);
    if let Some(user) = who.user() {
        let value = HeaderValue::from_str(&user).map_err(|_| Failure::Name(user))?;
        builder = builder.header("Impersonate-User", value);
    }
    let body = match call.content {
        Some((kind, bytes)) => {
            builder = builder.header(header::CONTENT_TYPE, kind);
            Body::from(bytes.to_vec())
        }
        None => Body::empty(),
    };
    builder.body(body).map_err(|error| Failure::Transport(error.to_string()))
}

fn refusal(code: StatusCode, bytes: &[u8], pause: Option<Duration>) -> Refusal {
    let status = serde_json::from_slice::<Status>(bytes)
        .ok()
        .filter(|status| !status.message.is_empty() || !status.reason.is_empty())
        .unwrap_or_else(|| {
            let text = code.canonical_reason().unwrap_or("unknown");
            Status::failure(&format!("the server answered {}: {text}", code.as_u16()), "")
        });
    Refusal::from_status(code.as_u16(), status, pause)
}

/// An error with its causes, which HTTP stacks hide behind words like "client error".
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}

/// A path segment or query value with everything but unreserved characters and `:` escaped.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_within_its_path_segment() {
        assert_eq!(escape("system:node-1.x"), "system:node-1.x");
        assert_eq!(escape("a/../b?c=%"), "a%2F..%2Fb%3Fc%3D%25");
    }

    #[test]
    fn an_answer_that_is_no_status_keeps_its_content_to_itself() {
        let refusal = refusal(StatusCode::BAD_GATEWAY, b"<html>secret</html>", None);
        assert_eq!(refusal.message, "the server answered 502: Bad Gateway");
    }

    #[test]
    fn a_service_account_is_impersonated_without_groups() {
        let who = Identity::ServiceAccount { namespace: "team".into(), name: "deployer".into() };
        let request = request(&who, &Call::get("/version".into(), JSON)).expect("valid");
        let headers = request.headers();
        assert_eq!(headers["Impersonate-User"], "system:serviceaccount:team:deployer");
        assert!(!headers.contains_key("Impersonate-Group"));
    }
}

//! One bounded request to a token service.

use std::time::Duration;

use reqwest::{RequestBuilder, Response, header};
use serde::de::DeserializeOwned;

use crate::Error;

/// Longest wait for a token service, per request.
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest pause that a service may ask for, in seconds.
const LONGEST_PAUSE: u64 = 3600;
/// Most bytes of an answer.
const LARGEST_ANSWER: usize = 1 << 20;

/// Sends a request and reads a small answer as text. A status outside 2xx is [`Error::Refused`].
pub(crate) async fn text(service: &'static str, request: RequestBuilder) -> Result<String, Error> {
    let exchange = async {
        let answer = request.send().await.map_err(|error| unreachable(service, error))?;
        if !answer.status().is_success() {
            return Err(refused(service, answer).await);
        }
        read(service, answer).await
    };
    tokio::time::timeout(DEADLINE, exchange).await.unwrap_or_else(|_| {
        Err(Error::Unreachable { service, reason: format!("no answer within {} s", DEADLINE.as_secs()) })
    })
}

/// As [`text`], read as JSON.
pub(crate) async fn json<T: DeserializeOwned>(
    service: &'static str,
    request: RequestBuilder,
) -> Result<T, Error> {
    let text = text(service, request).await?;
    serde_json::from_str(&text)
        // The error's text may quote the answer, which may be a token.
        .map_err(|error| Error::Malformed {
            service,
            reason: format!("no valid JSON at line {}", error.line()),
        })
}

fn unreachable(service: &'static str, error: reqwest::Error) -> Error {
    Error::Unreachable { service, reason: error.without_url().to_string() }
}

async fn read(service: &'static str, mut answer: Response) -> Result<String, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(service, error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST_ANSWER {
            return Err(Error::Malformed { service, reason: format!("more than {LARGEST_ANSWER} bytes") });
        }
    }
    String::from_utf8(bytes).map_err(|_| Error::Malformed { service, reason: "not UTF-8".to_owned() })
}

async fn refused(service: &'static str, answer: Response) -> Error {
    let status = answer.status().as_u16();
    let after = answer.headers().get(header::RETRY_AFTER);
    let after = after.and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    let body = read(service, answer).await.unwrap_or_default();
    Error::Refused {
        service,
        status,
        code: error_code(&body),
        after: after.map(|seconds| Duration::from_secs(seconds.min(LONGEST_PAUSE))),
    }
}

/// The short error code that a service names, never its prose, which may quote what was sent.
fn error_code(body: &str) -> Option<String> {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let code = match &json {
        Some(json) => {
            ["error", "code", "Code"].iter().find_map(|key| json.get(key)?.as_str()).map(str::to_owned)
        }
        None => crate::aws::element(body, "Code").map(str::to_owned),
    };
    let plain = |code: &String| {
        code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    };
    code.filter(plain)
}

//! Bodies: read within size and time, then parsed. Owns the messages for what is not JSON or not of the right shape.

use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::{ApiError, Code};

/// What is read of a body that is too large, so that its sender gets to read the answer instead of a reset.
const MAX_DISCARDED: usize = 8 << 20;

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    within: Duration,
) -> Result<Bytes, ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(body, limit, within).await);
    }
    let mut whole = Box::pin(Limited::new(&mut body, limit).collect());
    // A small body came with its head: most requests need no timer.
    let read = match futures_util::poll!(whole.as_mut()) {
        Poll::Ready(read) => Ok(read),
        Poll::Pending => tokio::time::timeout(within, whole.as_mut()).await,
    };
    drop(whole);
    match read {
        Ok(Ok(bytes)) => Ok(bytes.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(body, limit, within).await),
        Ok(Err(error)) => Err(ApiError::new(Code::body_incomplete, format!("the body broke off: {error}")).at("body")),
        Err(_) => {
            let message = format!("the body did not arrive within {} ms", within.as_millis());
            Err(ApiError::new(Code::body_incomplete, message).at("body"))
        }
    }
}

/// The refusal of a body that is too large, after what is left of it was read and thrown away: a sender that is cut off while
/// it still writes sees a broken connection and never the answer.
async fn too_large(body: Body, limit: usize, within: Duration) -> ApiError {
    discard(body, within).await;
    let message = format!("the body is larger than {limit} bytes");
    ApiError::new(Code::body_too_large, message).at("body").limit(limit)
}

/// Reads a body that nobody wants, and throws it away.
pub(super) async fn discard(mut body: Body, within: Duration) {
    let discard = async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > MAX_DISCARDED {
                break;
            }
        }
    };
    if tokio::time::timeout(within, discard).await.is_err() {
        tracing::debug!("a body that nobody wants did not end in time");
    }
}

/// Parses a JSON object. The fast way first; only a refusal is parsed again, for the path to the field.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ApiError> {
    // Serde takes a list for the fields of a struct in their order, and an empty one for all that may be left out.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        let why = match serde_json::from_slice::<IgnoredAny>(bytes) {
            Ok(IgnoredAny) => "a JSON object was expected".to_owned(),
            Err(error) => format!("not JSON: {error}"),
        };
        return Err(ApiError::new(Code::bad_json, why).at("body"));
    }
    serde_json::from_slice(bytes).map_err(|first| {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut deserializer) else {
            return ApiError::new(Code::bad_json, format!("not one JSON value: {first}")).at("body");
        };
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            ApiError::new(Code::bad_field, inner.to_string()).at(if path == "." { "body".to_owned() } else { path })
        } else {
            ApiError::new(Code::bad_json, format!("not JSON: {inner}")).at("body")
        }
    })
}

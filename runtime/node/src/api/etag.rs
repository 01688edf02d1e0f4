//! Entity tags: whether who asks has what would be answered.

use axum::http::{HeaderMap, header};

/// Whether a request says that it has what is of this tag.
pub(super) fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let tags = headers.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    let mut tags = tags.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.trim_start_matches("W/").trim_matches('"') == tag)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_tag_is_known_in_every_form_that_clients_and_proxies_send() {
        let check = |values: &[&str], expected: bool| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_NONE_MATCH, value.parse().unwrap());
            }
            assert_eq!(knows(&headers, "abc1"), expected, "{values:?}");
        };
        check(&["W/\"abc1\""], true);
        check(&["\"abc1\""], true);
        check(&["abc1"], true);
        check(&["\"other\", W/\"abc1\""], true);
        check(&["\"other\"", "\"abc1\""], true);
        check(&["*"], true);
        check(&[], false);
        check(&["\"abc\"", "\"abc12\""], false);
    }
}

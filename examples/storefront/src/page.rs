//! A page as the browser first gets it: the shell of `site/index.html` with the page's decisions inside, so that it is drawn
//! once, without a second request. Owns who asks (cookies) and which decisions a path needs (`site/pages.json`).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use hyper::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::catalogue::{Catalogue, Product};
use crate::http::cookie;

/// Where the decisions stand in the shell.
const MARK: &str = "<!-- decisions -->";
/// What goes with a cart costs at most this, in euros.
const EXTRA_AT_MOST: f64 = 60.0;

/// A path and what it asks for. The same file is read by the pages' own router.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Route {
    path: String,
    placements: Vec<Ask>,
}

#[derive(Debug, Clone, Deserialize)]
struct Ask {
    placement: String,
    #[serde(default)]
    slots: Option<u32>,
    /// Which products the page names; all of the view when not said.
    #[serde(default)]
    candidates: Option<Candidates>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Candidates {
    /// Those of the path's `:category`.
    Category,
    /// What goes with the path's `:item`: other kinds in its family of colours.
    GoesWith,
    /// Small things beside a cart.
    Extras,
}

/// Who asks: ids that nobody else knows what to do with.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    /// The browser, for a year.
    pub(crate) subject: String,
    /// The visit, until the browser is closed.
    pub(crate) session: String,
    /// What the page knows of it, such as the weather; the page writes this cookie.
    context: Value,
    is_new: [bool; 2],
}

// === impl Visitor ===

impl Visitor {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self> {
        let known = |name: &str| cookie(headers, name).filter(|id| id.len() <= 64).map(str::to_owned);
        let (subject, session) = (known("subject"), known("visit"));
        let context = cookie(headers, "context").and_then(unescape).and_then(|text| serde_json::from_str(&text).ok());
        Ok(Self {
            is_new: [subject.is_none(), session.is_none()],
            subject: subject.map_or_else(|| fresh("s"), Ok)?,
            session: session.map_or_else(|| fresh("v"), Ok)?,
            context: context.filter(Value::is_object).unwrap_or_else(|| json!({})),
        })
    }

    /// What its page starts from when nothing is asked.
    pub(crate) fn bootstrap(&self) -> Value {
        json!({"subject": self.subject, "session": self.session, "context": self.context, "placements": []})
    }

    /// The cookies that the browser does not have yet.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = String> {
        let [subject, session] = self.is_new;
        let year =
            subject.then(|| format!("subject={}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly", self.subject));
        year.into_iter().chain(session.then(|| format!("visit={}; Path=/; SameSite=Lax; HttpOnly", self.session)))
    }
}

// === impl Route ===

impl Route {
    /// The routes, and the file as it is written, for the pages.
    pub(crate) fn read(site: &Path) -> Result<(Vec<Self>, Value)> {
        let path = site.join("pages.json");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let read = || anyhow::Ok((serde_json::from_str(&text)?, serde_json::from_str(&text)?));
        read().with_context(|| path.display().to_string())
    }

    /// What a path asks a node; nothing when it is none of the shop's.
    pub(crate) fn request(routes: &[Self], path: &str, catalogue: &Catalogue, visitor: &Visitor) -> Option<Value> {
        let (route, named) = routes.iter().find_map(|route| Some((route, named(&route.path, path)?)))?;
        let name = |key: &str| named.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let category = name("category");
        let item = match name("item") {
            Some(id) => Some(catalogue.find(id)?),
            None => None,
        };
        if category.is_some_and(|category| !catalogue.products.iter().any(|product| product.category == category)) {
            return None;
        }
        let placements = route.placements.iter().map(|ask| {
            let mut placement = json!({"placement": ask.placement});
            if let Some(slots) = ask.slots {
                placement["slots"] = slots.into();
            }
            if let Some(candidates) = ask.candidates {
                let all = catalogue.products.iter().filter(|product| candidates.has(product, category, item));
                placement["candidates"] = all.map(|product| product.id.as_str()).collect();
            }
            placement
        });
        let placements: Vec<Value> = placements.collect();
        let mut request = visitor.bootstrap();
        request["placements"] = placements.into();
        Some(request)
    }
}

impl Candidates {
    fn has(self, product: &Product, category: Option<&str>, item: Option<&Product>) -> bool {
        match self {
            Self::Category => category == Some(product.category.as_str()),
            Self::GoesWith => {
                item.is_some_and(|item| product.category != item.category && product.family == item.family)
            }
            Self::Extras => product.price <= EXTRA_AT_MOST,
        }
    }
}

/// The shell with what the page starts from.
pub(crate) fn render(shell: &str, start: &Value) -> String {
    // No text of a product or a payload may end the element it stands in.
    let json = start.to_string().replace('<', "\\u003c");
    shell.replacen(MARK, &format!("<script type=\"application/json\" id=\"decisions\">{json}</script>"), 1)
}

/// The parts of `path` that `pattern` names, when it is such a path.
fn named<'a>(pattern: &'a str, path: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    let mut named = Vec::new();
    for (expected, found) in pattern.iter().zip(&path) {
        match expected.strip_prefix(':') {
            Some(name) => named.push((name, *found)),
            None if expected == found => {}
            None => return None,
        }
    }
    (pattern.len() == path.len()).then_some(named)
}

fn fresh(kind: &str) -> Result<String> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).context("a random id")?;
    Ok(format!("{kind}-{:032x}", u128::from_le_bytes(bytes)))
}

/// What `encodeURIComponent` wrote.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (16 * digit()? + digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_by_their_parts() {
        assert_eq!(named("/", "/"), Some(vec![]));
        assert_eq!(named("/shop", "/shop"), Some(vec![]));
        assert_eq!(named("/shop/:category", "/shop/shoes"), Some(vec![("category", "shoes")]));
        assert_eq!(named("/shop/:category", "/shop"), None);
        assert_eq!(named("/shop", "/shop/shoes"), None);
        assert_eq!(named("/cart", "/shop"), None);
    }

    #[test]
    fn what_a_page_starts_from_cannot_leave_its_element() {
        let html = render("<main></main><!-- decisions -->", &json!({"title": "</script><script>alert(1)</script>"}));
        assert_eq!(html.matches("<script").count(), 1, "{html}");
        assert_eq!(html.matches("</script").count(), 1, "{html}");
    }

    #[test]
    fn cookies_are_read_as_pages_write_them() {
        assert_eq!(unescape("%7B%22a%22%3A1%7D").as_deref(), Some("{\"a\":1}"));
        assert_eq!(unescape("%C3%A4").as_deref(), Some("ä"));
        assert_eq!(unescape("%C3"), None, "half of a character");
        assert_eq!(unescape("%2"), None);
        assert_eq!(unescape("%zz"), None);
    }
}

//! All that a page begins with in one answer: the release, rows, and the modules that are small. Of many requests it makes one. Owns what
//! comes with a release: everybody's rows when release and rows are little, and what of the rest is here and has room. Where everybody's
//! are not little, a page asks for all of it apart, and keeps the release and those rows by their tags.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use selvedge_decision::page::{PageRelease, Whose};

use super::all::Pack;
use super::rows::{Rows, begin_fetching};
use super::{Asked, PageAnswer, page_of};
use crate::decide::active::{Active, Bound};
use crate::decide::{Decider, Refused};

/// The most bytes of all of it.
const MOST: usize = 16 << 10;
/// The most of a module: a larger one is worth a request of its own, and being kept for ever.
const SMALL: usize = 4 << 10;

/// What a page begins with.
pub struct Start {
    /// What it gets of the release.
    pub answer: Arc<PageAnswer>,
    /// The rest of it, where that is little.
    pub inline: Option<Inline>,
}

/// What else a first decision needs.
pub struct Inline {
    /// In the order in which the decision core takes them: everybody's rows, then those of who looks at the page, if it names somebody
    /// of whom all is here.
    pub rows: Vec<Bytes>,
    /// Small ones, by the index by which the decision core calls them.
    pub modules: BTreeMap<u32, Bytes>,
}

// === impl Decider ===

impl Decider {
    /// What a page may hold of the release that decides for it, with all that is little. `pack` is as for [`Decider::page_rows`], which
    /// finds what was made here.
    ///
    /// # Errors
    ///
    /// When the node has no release yet.
    pub async fn page_start(&self, asked: Asked<'_>, pack: Pack) -> Result<Start, Refused> {
        let active = self.releases.of(asked.unit()).ok_or(Refused::NotReady)?;
        let answer = page_of(&active, asked.allowed).await?;
        // What the core alone has of somebody is on its way now, for a page that asks for it apart.
        let is_here = begin_fetching(&active, &answer.page, asked.one, self.clock.now_us()).is_empty();
        let inline = match MOST.checked_sub(answer.json.len()) {
            Some(left) if may_be_few(&active, &answer.page, left) => {
                self.inline(&active, &answer, asked, is_here, pack, left).await
            }
            _ => None,
        };
        Ok(Start { answer, inline })
    }

    /// Everybody's rows, those of who looks at the page where all of them is here, and modules: at most `left` bytes.
    async fn inline(
        &self,
        active: &Arc<Active>,
        answer: &Arc<PageAnswer>,
        asked: Asked<'_>,
        is_here: bool,
        pack: Pack,
        mut left: usize,
    ) -> Option<Inline> {
        let all = self.rows_of_all(active, answer, asked, pack).await.ok()?;
        left = left.checked_sub(all.bytes.len())?;
        let mut rows = vec![all.bytes.clone()];
        if is_here && asked.unit().is_some() {
            let own = Rows::of_one(active, &answer.page, asked.one, self.clock.now_us(), left.min(asked.limit));
            let own = own.map(|own| own.whole(active, &answer.page, Some(asked.one)).to_bytes());
            if let Some(own) = own.ok().filter(|own| own.len() <= left) {
                left -= own.len();
                rows.push(own.into());
            }
        }
        let lifted = |index: u32| active.lifted.get(active.plan.modules.get(index as usize)?);
        let small = answer.page.modules.keys().filter_map(|index| Some((*index, lifted(*index)?.bytes.clone())));
        let fits = |(_, bytes): &(u32, Bytes)| {
            let rest = left.checked_sub(bytes.len()).filter(|_| bytes.len() <= SMALL);
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        Some(Inline { rows, modules: small.filter(fits).collect() })
    }
}

/// Whether everybody's rows may fit, by their number; to know it, they would have to be read.
fn may_be_few(active: &Active, page: &PageRelease, left: usize) -> bool {
    let all = page.views.iter().filter(|(_, view)| view.whose == Whose::All);
    let bytes = all.map(|(at, view)| match active.view(*at as usize) {
        Some(Bound::Table(table)) => table.len().saturating_mul(8 * (view.used.len() + 1)),
        _ => 0,
    });
    bytes.fold(0, usize::saturating_add) <= left
}

//! The node's symbols: texts as small numbers, so that a row is numbers only. Owns the numbering: append-only, node-wide,
//! bounded; a number never changes its text while the process lives. Must not know what the texts mean.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use foldhash::fast::RandomState;
use selvedge_decision::layout::OTHER_SYMBOL;

/// How much text the node interns. What does not fit becomes [`OTHER_SYMBOL`] and is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SymbolLimits {
    /// The most texts.
    pub symbols: u32,
    /// The longest text, in bytes.
    pub text_bytes: usize,
}

/// An append-only interner. Reads take no lock.
pub struct Symbols {
    limits: SymbolLimits,
    numbers: papaya::HashMap<Arc<str>, u32, RandomState>,
    /// Block `k` holds `FIRST_BLOCK << k` texts; a block that exists never moves.
    blocks: [OnceLock<Block>; BLOCKS],
    next: Mutex<u32>,
    refused: AtomicU64,
}

/// Texts, each written once.
type Block = Box<[OnceLock<Arc<str>>]>;

const FIRST_BLOCK: usize = 256;
const BLOCKS: usize = 25;
const OTHER: u32 = OTHER_SYMBOL as u32;

// === impl SymbolLimits ===

impl Default for SymbolLimits {
    fn default() -> Self {
        Self { symbols: 1_000_000, text_bytes: 1_024 }
    }
}

// === impl Symbols ===

impl Symbols {
    /// An empty interner.
    pub fn new(limits: SymbolLimits) -> Self {
        Self {
            limits,
            numbers: papaya::HashMap::with_hasher(RandomState::default()),
            blocks: [const { OnceLock::new() }; BLOCKS],
            next: Mutex::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// The number of `text`, given to it now when it has none. [`OTHER_SYMBOL`] when a limit is reached.
    pub fn intern(&self, text: &str) -> u32 {
        self.get(text).unwrap_or_else(|| self.append(text))
    }

    /// The number of `text`, if it has one.
    pub fn get(&self, text: &str) -> Option<u32> {
        self.numbers.pin().get(text).copied()
    }

    /// The text of `number`; none for [`OTHER_SYMBOL`] and for numbers not given yet.
    pub fn text(&self, number: u32) -> Option<Arc<str>> {
        let (block, at) = place(number);
        self.blocks.get(block)?.get()?.get(at)?.get().cloned()
    }

    /// How many texts have a number.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether no text has a number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often a text was refused a number, because a limit was reached.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn append(&self, text: &str) -> u32 {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = self.get(text) {
            return number;
        }
        let number = *next;
        let (block, at) = place(number);
        let fits = text.len() <= self.limits.text_bytes && number < self.limits.symbols;
        let (true, Some(block)) = (fits, self.blocks.get(block)) else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return OTHER;
        };
        let size = FIRST_BLOCK << (place(number).0);
        let texts = block.get_or_init(|| (0..size).map(|_| OnceLock::new()).collect());
        let shared: Arc<str> = Arc::from(text);
        // The text stands before the number can be found, so that nobody holds a number without a text.
        texts[at].get_or_init(|| Arc::clone(&shared));
        self.numbers.pin().insert(shared, number);
        *next += 1;
        number
    }
}

impl Default for Symbols {
    fn default() -> Self {
        Self::new(SymbolLimits::default())
    }
}

impl std::fmt::Debug for Symbols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbols").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The block of a number and where in it.
fn place(number: u32) -> (usize, usize) {
    let shifted = number as usize + FIRST_BLOCK;
    let block = (shifted.ilog2() - FIRST_BLOCK.ilog2()) as usize;
    (block, shifted - (FIRST_BLOCK << block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_number_and_a_number_its_text() {
        let symbols = Symbols::default();
        let texts: Vec<String> = (0..5_000).map(|i| format!("text-{i}")).collect();
        let numbers: Vec<u32> = texts.iter().map(|text| symbols.intern(text)).collect();
        for (text, &number) in texts.iter().zip(&numbers) {
            assert_eq!(symbols.get(text), Some(number));
            assert_eq!(symbols.intern(text), number);
            assert_eq!(symbols.text(number).as_deref(), Some(text.as_str()));
        }
        assert_eq!(numbers, (0..5_000).collect::<Vec<_>>(), "dense from 0");
        assert_eq!(symbols.get("text-5000"), None);
        assert_eq!(symbols.text(5_000), None);
        assert_eq!(symbols.text(OTHER), None);
    }

    #[test]
    fn beyond_a_limit_all_is_other_and_counted() {
        let symbols = Symbols::new(SymbolLimits { symbols: 2, text_bytes: 3 });
        assert_eq!(symbols.intern("a"), 0);
        assert_eq!(symbols.intern("long"), OTHER);
        assert_eq!(symbols.intern("b"), 1);
        assert_eq!(symbols.intern("c"), OTHER);
        assert_eq!(symbols.intern("a"), 0, "who has a number keeps it");
        assert_eq!((symbols.len(), symbols.refused()), (2, 2));
    }

    #[test]
    fn threads_that_intern_the_same_texts_agree() {
        let symbols = Symbols::default();
        let all: Vec<Vec<u32>> = std::thread::scope(|scope| {
            let run = || (0..2_000).map(|i| symbols.intern(&format!("t{}", i * 7 % 997))).collect::<Vec<u32>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map_while(|thread| thread.join().ok()).collect()
        });
        assert_eq!(all.len(), 4);
        assert!(all.iter().all(|numbers| *numbers == all[0]));
        assert_eq!(symbols.len(), 997);
    }
}

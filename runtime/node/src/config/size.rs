//! A number of bytes as people write it.

use serde::Deserialize;

/// Bytes: a whole number, or one with KiB, MiB or GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Size(usize);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Bytes(usize),
    Text(String),
}

// === impl Size ===

impl Size {
    /// The number of bytes.
    pub fn bytes(self) -> usize {
        self.0
    }
}

impl TryFrom<Written> for Size {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let text = match written {
            Written::Bytes(bytes) => return Ok(Self(bytes)),
            Written::Text(text) => text,
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let scale = match unit.trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(format!("{text:?} is not a size such as 64KiB, 256MiB or 4GiB")),
        };
        let bytes = number.parse::<usize>().ok().and_then(|number| number.checked_mul(scale));
        bytes.map(Self).ok_or_else(|| format!("{text:?} is not a size such as 64KiB, 256MiB or 4GiB"))
    }
}

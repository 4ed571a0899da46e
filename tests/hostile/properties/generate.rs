//! Values out of bytes: for inputs that random bytes would never reach in their written form.

use serde_json::{Map, Value};

/// Reads bytes from the front; at the end it goes on with zeros.
pub struct Source<'a>(pub &'a [u8]);

impl Source<'_> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// One of these.
    pub fn pick<'p>(&mut self, from: &'p [&'p str]) -> &'p str {
        from[usize::from(self.byte()) % from.len()]
    }

    /// Up to 255 bytes as text.
    pub fn text(&mut self) -> String {
        let length = usize::from(self.byte()).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    /// A text that may be far longer than its bytes.
    pub fn long_text(&mut self) -> String {
        let times = [0, 1, 1, 1, 2, 20, 151, 3_001][usize::from(self.byte()) % 8];
        let text = self.text();
        text.repeat(times.min(12_000 / text.len().max(1)))
    }

    /// A JSON value with these words as the likely keys and strings.
    pub fn json(&mut self, words: &[&str], depth: u8) -> Value {
        match self.byte() % if depth == 0 { 6 } else { 9 } {
            0 => Value::Null,
            1 => Value::Bool(self.byte().is_multiple_of(2)),
            2 => Value::from(self.byte()),
            3 => self.pick(words).into(),
            4 | 5 => self.long_text().into(),
            6 => {
                let item = self.json(words, depth - 1);
                let mut items = vec![item; usize::from(self.byte() % 60)];
                items.extend((0..self.byte() % 4).map(|_| self.json(words, depth - 1)));
                items.into()
            }
            _ => (0..self.byte() % 7)
                .map(|_| (self.pick(words).to_owned(), self.json(words, depth - 1)))
                .collect::<Map<_, _>>()
                .into(),
        }
    }
}

//! An error written for a person: place, fact, way out. Many at once.
//!
//! Everything that reads what a person wrote (configuration, profiles, templates, rules) collects
//! [`Problem`]s instead of stopping at the first, so that one run of `check` shows all there is to mend.

use std::fmt;

/// One thing that is wrong, where it is wrong, and what would mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File and place in it, as a person would look for it: `config/app.toml: [amqp]`.
    pub place: String,
    /// What is wrong, one sentence, never a secret.
    pub fact: String,
    /// The way out: "did you mean", the allowed values, the command to run.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without a way out yet; add one with [`Problem::hint`].
    pub fn new(place: impl Into<String>, fact: impl Into<String>) -> Self {
        Self { place: place.into(), fact: fact.into(), hint: None }
    }

    /// Adds the way out.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.fact)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n    {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// Every problem found in one pass, in the order they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds all of another collection.
    pub fn extend(&mut self, other: Problems) {
        self.0.extend(other.0);
    }

    /// Keeps the value of `result`, or its problems.
    pub fn collect<T>(&mut self, result: Result<T, Problems>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(problems) => {
                self.extend(problems);
                None
            }
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// `Ok(value)` if nothing is wrong.
    pub fn into_result<T>(self, value: T) -> Result<T, Problems> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let noun = if self.len() == 1 { "problem" } else { "problems" };
        write!(f, "{} {noun}. Nothing was started.", self.len())
    }
}

impl std::error::Error for Problems {}

/// "did you mean `x`? known: a, b, x", for a word that is not in a closed list.
///
/// A word is near when an edit or two (a third of its length) makes it the other.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(word.len()) / 3).max(1))
        .min();
    let list = known.join(", ");
    match (nearest, known.is_empty()) {
        (_, true) => "none are known here".to_owned(),
        (Some((_, candidate)), _) => format!("did you mean `{candidate}`? known: {list}"),
        (None, _) => format!("known: {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_shown_with_their_way_out_and_counted() {
        let mut problems = Problems::new();
        problems.push(
            Problem::new("config/app.toml: [amqp]", "unknown key `prefech`")
                .hint(did_you_mean("prefech", ["url", "queue", "prefetch"])),
        );
        problems
            .push(Problem::new("templates/slack/alert.json.hbs:2", "`report.sevrity` is not a field of the report"));
        assert_eq!(
            problems.to_string(),
            "config/app.toml: [amqp]: unknown key `prefech`\n    did you mean `prefetch`? known: prefetch, queue, url\n\
             templates/slack/alert.json.hbs:2: `report.sevrity` is not a field of the report\n\
             2 problems. Nothing was started."
        );
    }

    #[test]
    fn a_far_word_gets_the_list_but_no_guess() {
        assert_eq!(did_you_mean("zebra", ["low", "high"]), "known: high, low");
    }
}

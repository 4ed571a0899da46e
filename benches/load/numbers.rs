//! Percentiles, and the table.

use serde_json::{Map, Value, json};

use super::world::Told;

/// p50 and p99 of numbers, and the largest; none of nothing.
pub fn spread(mut numbers: Vec<i64>) -> Value {
    numbers.sort_unstable();
    let at = |share: f64| numbers.get(((numbers.len() as f64 - 1.0) * share).round().max(0.0) as usize).copied();
    json!({"p50": at(0.5), "p99": at(0.99), "max": numbers.last()})
}

/// The median of a few rounds.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Two decimals are enough for anybody.
pub fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// What arrived, in the words of the table: lag is finished at the provider → received, own delay is terminal answer
/// given → received.
pub fn told(told: &[Told], expected: usize) -> Map<String, Value> {
    let arrived = told.len();
    let polls: u64 = told.iter().map(|one| one.polls).sum();
    let mut row = Map::new();
    row.insert("lag_ms".to_owned(), spread(told.iter().map(|one| one.at - one.over).collect()));
    row.insert("own_delay_ms".to_owned(), spread(told.iter().map(|one| one.at - one.said).collect()));
    row.insert("polls_per_scan".to_owned(), json!(round(polls as f64 / arrived.max(1) as f64)));
    row.insert("lost".to_owned(), json!(expected.saturating_sub(arrived)));
    row.insert("doubled".to_owned(), json!(told.iter().filter(|one| one.count > 1).count()));
    row
}

/// Prints a scenario: one line for each figure, names of nested ones joined.
pub fn table(scenario: &str, result: &Value) {
    println!("\n{scenario}");
    lines("", result);
}

fn lines(prefix: &str, value: &Value) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            let name = if prefix.is_empty() { name.clone() } else { format!("{prefix} {name}") };
            lines(&name, value);
        }),
        Value::Array(list) => println!("  {prefix:<44} {}", Value::Array(list.clone())),
        other => println!("  {prefix:<44} {other:>14}"),
    }
}

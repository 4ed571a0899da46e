//! Finds in a rule what CEL itself would only notice while running, or never: names that do not exist, comparisons
//! that can never be true, more depth and more loops than a rule may have.
//!
//! CEL checks neither types nor names when it compiles, so the syntax tree is walked.

use std::sync::Arc;

use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use cel::{Context, Env, ExecutionError, IdedExpr, Program};

use super::facts::{FIELDS, SEVERITIES, SUBJECT};
use crate::domain::report::{Severity, SubjectKind, Verdict};
use crate::domain::scan::Outcome;
use crate::problem::{Problem, Problems, did_you_mean};

/// Expressions inside expressions: the evaluation recurses as deep.
const DEEPEST: usize = 64;
/// Loops (`all`, `exists`, `map`, `filter`) inside loops: nothing limits the time of a rule but this.
const LOOPS: usize = 2;

/// Checks `expression`; answers whether it looks at `raw`.
pub(super) fn check(env: &Arc<Env>, place: &str, expression: &IdedExpr) -> Result<bool, Problems> {
    let mut walk = Walk { env, place, problems: Problems::new(), bound: Vec::new(), raw: false };
    walk.expression(expression, 0);
    walk.problems.into_result(walk.raw)
}

/// Looks for what would only fail, or silently be false, while running.
struct Walk<'a> {
    env: &'a Arc<Env>,
    place: &'a str,
    problems: Problems,
    /// Names bound by the loops around.
    bound: Vec<String>,
    raw: bool,
}

impl Walk<'_> {
    fn problem(&mut self, fact: impl Into<String>, hint: impl Into<String>) {
        let problem = Problem::new(self.place, fact).hint(hint);
        if !self.problems.iter().any(|known| *known == problem) {
            self.problems.push(problem);
        }
    }

    fn expression(&mut self, expression: &IdedExpr, depth: usize) {
        if depth > DEEPEST {
            return self.problem("is nested too deeply", "split it into several routes");
        }
        match &expression.expr {
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => {
                if is_name(&select.operand, "subject") && !SUBJECT.contains(&select.field.as_str()) {
                    let fact = format!("`subject.{}` is not a field of the report", select.field);
                    self.problem(fact, did_you_mean(&select.field, SUBJECT));
                }
                self.expression(&select.operand, depth + 1);
            }
            Expr::Call(call) => self.call(call, depth),
            Expr::Comprehension(_) => self.comprehension(expression, depth),
            _ => {
                for child in children(&expression.expr) {
                    self.expression(child, depth + 1);
                }
            }
        }
    }

    fn name(&mut self, name: &str) {
        let name = name.trim_start_matches('.');
        self.raw |= name == "raw";
        let severity = SEVERITIES.iter().any(|word| word.as_str() == name);
        let a_type = ["int", "uint", "double", "string", "bool", "bytes", "list", "map", "null_type", "type"];
        if severity || FIELDS.contains(&name) || a_type.contains(&name) || self.bound.iter().any(|bound| bound == name)
        {
            return;
        }
        let words = Verdict::ALL.iter().map(|word| word.as_str()).chain(Outcome::ALL.iter().map(|word| word.as_str()));
        let hint = if words.into_iter().any(|word| word == name) {
            format!("write it in quotes: \"{name}\"; only severities are written without")
        } else {
            let known = FIELDS.into_iter().chain(SEVERITIES.iter().map(|word| word.as_str()));
            did_you_mean(name, known)
        };
        self.problem(format!("`{name}` is not a field of the report"), hint);
    }

    fn call(&mut self, call: &CallExpr, depth: usize) {
        if !self.is_known(call) {
            let known = [
                "size",
                "contains",
                "startsWith",
                "endsWith",
                "matches",
                "lowerAscii",
                "upperAscii",
                "has",
                "exists",
                "all",
                "filter",
                "map",
                "exists_one",
                "split",
                "trim",
                "string",
                "int",
                "double",
            ];
            self.problem(format!("there is no function `{}`", call.func_name), did_you_mean(&call.func_name, known));
        }
        if let [left, right] = call.args.as_slice() {
            self.comparison(&call.func_name, left, right);
        }
        for child in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
            self.expression(child, depth + 1);
        }
    }

    /// Asks the language itself: an unknown function says so before it looks at its parameters.
    fn is_known(&self, call: &CallExpr) -> bool {
        let name = &call.func_name;
        if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return true; // an operator
        }
        let probe = if call.target.is_some() { format!("''.{name}()") } else { format!("{name}()") };
        let Ok(program) = Program::compile(&probe) else { return true };
        let context = Context::with_env(Arc::clone(self.env));
        !matches!(program.execute(&context), Err(ExecutionError::UndeclaredReference(_)))
    }

    /// `severity == "high"` is never true, `verdict == "malicious"` neither.
    fn comparison(&mut self, operator: &str, left: &IdedExpr, right: &IdedExpr) {
        const COMPARE: [&str; 7] = [
            operators::EQUALS,
            operators::NOT_EQUALS,
            operators::GREATER,
            operators::GREATER_EQUALS,
            operators::LESS,
            operators::LESS_EQUALS,
            operators::IN,
        ];
        if !COMPARE.contains(&operator) {
            return;
        }
        for (field, other) in [(left, right), (right, left)] {
            for word in texts(other) {
                self.word(field, word);
            }
        }
    }

    fn word(&mut self, field: &IdedExpr, word: &str) {
        let known: Vec<&str> = match field_name(field) {
            Some("severity") => {
                let hint = match word.parse::<Severity>() {
                    Ok(_) => format!("write it without quotes: `{word}`"),
                    Err(_) => did_you_mean(word, SEVERITIES.iter().map(|known| known.as_str())),
                };
                return self.problem(format!("severity is compared with the text \"{word}\""), hint);
            }
            Some("verdict") if is_name(field, "verdict") => Verdict::ALL.iter().map(|known| known.as_str()).collect(),
            Some("outcome") if is_name(field, "outcome") => Outcome::ALL.iter().map(|known| known.as_str()).collect(),
            Some("kind") => SubjectKind::ALL.iter().map(|known| known.as_str()).collect(),
            _ => return,
        };
        if !known.contains(&word) {
            let field = field_name(field).unwrap_or_default();
            self.problem(format!("`{field}` is never \"{word}\""), did_you_mean(word, known));
        }
    }

    fn comprehension(&mut self, expression: &IdedExpr, depth: usize) {
        let Expr::Comprehension(comprehension) = &expression.expr else { return };
        self.expression(&comprehension.iter_range, depth + 1);
        let names = [Some(&comprehension.iter_var), comprehension.iter_var2.as_ref(), Some(&comprehension.accu_var)];
        let before = self.bound.len();
        self.bound.extend(names.into_iter().flatten().cloned());
        // Three names for each loop around, or two: the accumulator's is always the same.
        let loops = self.bound.iter().filter(|name| **name == comprehension.accu_var).count();
        if loops > LOOPS {
            self.problem(
                format!("has more than {LOOPS} loops inside each other"),
                "use fewer of all, exists, map, filter",
            );
        } else {
            let parts =
                [&comprehension.accu_init, &comprehension.loop_cond, &comprehension.loop_step, &comprehension.result];
            for part in parts {
                self.expression(part, depth + 1);
            }
        }
        self.bound.truncate(before);
    }
}

/// `severity`, or the last step of `f.severity`, `subject.kind`.
fn field_name(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Ident(name) => Some(name),
        Expr::Select(select) if select.field == "severity" || is_name(&select.operand, "subject") => {
            Some(&select.field)
        }
        _ => None,
    }
}

/// Whether `expression` is just this name.
pub(super) fn is_name(expression: &IdedExpr, expected: &str) -> bool {
    matches!(&expression.expr, Expr::Ident(name) if name == expected)
}

/// The text literals of `"x"` or `["x", "y"]`.
fn texts(expression: &IdedExpr) -> Vec<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => vec![text.inner()],
        Expr::List(list) => list.elements.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn children(expression: &Expr) -> Vec<&IdedExpr> {
    use cel::common::ast::EntryExpr;
    let entries = match expression {
        Expr::List(list) => return list.elements.iter().collect(),
        Expr::Map(map) => &map.entries,
        Expr::Struct(structure) => &structure.entries,
        _ => return Vec::new(),
    };
    let parts = entries.iter().map(|entry| match &entry.expr {
        EntryExpr::StructField(field) => [Some(&field.value), None],
        EntryExpr::MapEntry(entry) => [Some(&entry.key), Some(&entry.value)],
    });
    parts.flatten().flatten().collect()
}

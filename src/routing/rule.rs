//! One rule: compiled from CEL, checked for what CEL itself would only notice while running, bounded, run.
//!
//! The only file that knows the CEL library beside `facts`. CEL does not check types or names when it compiles, so
//! the syntax tree is walked for names that do not exist and for comparisons that can never be true.

use std::sync::Arc;

use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use cel::{Context, Env, ExecutionError, IdedExpr, Program, Value};

use super::facts::{FIELDS, Facts, SEVERITIES, SUBJECT};
use crate::domain::report::{Severity, SubjectKind, Verdict};
use crate::domain::scan::Outcome;
use crate::problem::{Problem, Problems, did_you_mean};

/// Characters in a rule.
const LONGEST: usize = 4_096;
/// Expressions inside expressions: the evaluation recurses as deep.
const DEEPEST: usize = 64;
/// Loops (`all`, `exists`, `map`, `filter`) inside loops: nothing limits the time of a rule but this.
const LOOPS: usize = 2;

/// Bytes of stack for a parser that meets the longest rule at its deepest.
const STACK: usize = 128 * 1024 * 1024;

/// CEL as it is spoken here.
pub(super) struct Language(Arc<Env>);

impl Language {
    /// The standard functions and those for strings.
    pub(super) fn new() -> Self {
        let mut env = Env::stdlib();
        // Fails only if a name is taken twice, which a test would show; rules would then lack these functions.
        let _ = env.add_extension(cel::extensions::strings);
        Self(Arc::new(env))
    }

    /// What rules see.
    pub(super) fn context(&self, facts: &Facts) -> Context<'static, 'static> {
        let mut context = Context::with_env(Arc::clone(&self.0));
        for (name, value) in &facts.0 {
            context.add_variable_from_value(*name, value.clone());
        }
        context
    }

    /// Compiles `source`, or says everything that is wrong with it.
    ///
    /// On a thread of its own: the parser recurses with the text, and a stack that overflows aborts the process.
    pub(super) fn compile(&self, place: &str, source: &str) -> Result<Rule, Problems> {
        let place = format!("{place}: when");
        let thread = std::thread::Builder::new().name("rule".to_owned()).stack_size(STACK);
        let compiled = std::thread::scope(|scope| {
            let spawned = thread.spawn_scoped(scope, || self.compile_here(&place, source));
            spawned.map(|running| running.join())
        });
        match compiled {
            Ok(Ok(rule)) => rule,
            Ok(Err(_)) => Err(Problem::new(place, "cannot be compiled").hint("make it simpler").into()),
            Err(error) => Err(Problem::new(place, format!("cannot be compiled now: {error}")).into()),
        }
    }

    fn compile_here(&self, place: &str, source: &str) -> Result<Rule, Problems> {
        if source.len() > LONGEST {
            return Err(Problem::new(place, format!("is longer than {LONGEST} characters"))
                .hint("split the route")
                .into());
        }
        let program = self.0.compile(source).map_err(|errors| syntax(place, &errors))?;
        let mut walk = Walk { env: &self.0, place, problems: Problems::new(), bound: Vec::new(), raw: false };
        walk.expression(program.expression(), 0);
        let uses_raw = walk.raw;
        let mut expression = program.expression().clone();
        walk.problems.into_result(())?;
        absent_labels_are_empty(&mut expression, &mut Vec::new());
        let rule = Rule { source: source.to_owned(), expression, uses_raw };
        self.answers_yes_or_no(place, &rule)?;
        Ok(rule)
    }

    /// A rule that makes a number over a report that says everything will never make anything else.
    fn answers_yes_or_no(&self, place: &str, rule: &Rule) -> Result<(), Problem> {
        let context = self.context(&Facts::new(&example(), true));
        match Value::resolve(&rule.expression, &context) {
            Ok(Value::Bool(_)) | Err(_) => Ok(()),
            Ok(other) => Err(Problem::new(place, format!("is not true or false but {}", kind(&other)))
                .hint("compare it: `severity >= high`")),
        }
    }
}

/// A compiled rule.
pub(super) struct Rule {
    source: String,
    expression: IdedExpr,
    uses_raw: bool,
}

impl Rule {
    /// As it was written.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether it looks at `raw`.
    pub(super) fn uses_raw(&self) -> bool {
        self.uses_raw
    }

    /// Its answer, or why it has none. No value of the report is in the error, only names and types.
    pub(super) fn run(&self, context: &Context) -> Result<bool, String> {
        match Value::resolve(&self.expression, context) {
            Ok(Value::Bool(answer)) => Ok(answer),
            Ok(other) => Err(format!("it is not true or false but {}", kind(&other))),
            Err(error) => Err(failure(&error)),
        }
    }
}

fn failure(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(name) => format!("the report has no `{name}`; ask with `has(…)` first"),
        ExecutionError::NoSuchOverload(overload) => {
            format!("{overload}; a field that is null can be asked with `x != null`")
        }
        ExecutionError::UndeclaredReference(name) => format!("there is no `{name}`"),
        ExecutionError::FunctionError { function, .. } => format!("`{function}` failed"),
        ExecutionError::IndexOutOfBounds(_) => "a list is shorter than that".to_owned(),
        _ => "it compares or calculates with values that do not fit".to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => "a number",
        Value::String(_) => "a text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Null => "null",
        _ => "something else",
    }
}

fn syntax(place: &str, errors: &cel::ParseErrors) -> Problems {
    let mut problems = Problems::new();
    for error in errors.errors.iter().take(5) {
        let (line, column) = error.pos;
        let message = error.msg.lines().next().unwrap_or_default();
        let message = message.split(" expecting ").next().unwrap_or_default(); // a list of grammar tokens
        problems.push(
            Problem::new(place, format!("line {line}, column {column}: {message}"))
                .hint("`when` is CEL: `verdict == \"threat\" || severity >= high`"),
        );
    }
    problems
}

/// A report that says everything: only what type a field has matters here.
fn example() -> crate::domain::report::Report {
    use crate::domain::report::{Extract, Facts, Finding, Report, Subject};
    let said = Extract {
        status: Some(String::new()),
        score: Some(0.5),
        confidence: Some(0.5),
        subject: Subject {
            name: Some(String::new()),
            sha256: Some(String::new()),
            size: Some(1),
            media_type: Some(String::new()),
            ..Subject::default()
        },
        classes: vec![String::new()],
        findings: vec![Finding { title: Some(String::new()), location: Some(String::new()), ..Finding::default() }],
        error: Some(String::new()),
        link: Some(String::new()),
        ..Extract::default()
    };
    let facts = Facts {
        id: uuid::Uuid::nil(),
        provider: String::new(),
        scan_id: String::new(),
        outcome: Outcome::Completed,
        requested_at: crate::time::from_millis(0),
        finished_at: crate::time::from_millis(0),
        polls: 1,
    };
    Report::new(facts, said, 0)
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

fn is_name(expression: &IdedExpr, expected: &str) -> bool {
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

/// Rewrites `labels.team` to `("team" in labels ? labels.team : "")`, `has(labels.team)` to `"team" in labels`.
///
/// The depth was bounded by the walk before.
fn absent_labels_are_empty(expression: &mut IdedExpr, bound: &mut Vec<String>) {
    for_each_child(expression, bound, absent_labels_are_empty);
    if bound.iter().any(|name| name == "labels") {
        return;
    }
    let (key, test) = match &expression.expr {
        Expr::Select(select) if is_name(&select.operand, "labels") => {
            (literal(LiteralValue::String(select.field.clone().into())), select.test)
        }
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            // The key is written twice: only one that is small whatever is around it.
            [map, key] if is_name(map, "labels") && matches!(key.expr, Expr::Literal(_) | Expr::Ident(_)) => {
                (key.clone(), false)
            }
            _ => return,
        },
        _ => return,
    };
    let is_there = function(operators::IN, vec![key.clone(), ident("labels")]);
    if test {
        *expression = is_there;
        return;
    }
    let value = function(operators::INDEX, vec![ident("labels"), key]);
    let empty = literal(LiteralValue::String(String::new().into()));
    *expression = function(operators::CONDITIONAL, vec![is_there, value, empty]);
}

fn for_each_child(expression: &mut IdedExpr, bound: &mut Vec<String>, change: fn(&mut IdedExpr, &mut Vec<String>)) {
    use cel::common::ast::EntryExpr;
    match &mut expression.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| change(target, bound));
            call.args.iter_mut().for_each(|argument| change(argument, bound));
        }
        Expr::Select(select) => change(&mut select.operand, bound),
        Expr::List(list) => list.elements.iter_mut().for_each(|item| change(item, bound)),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    change(&mut entry.key, bound);
                    change(&mut entry.value, bound);
                }
            }
        }
        Expr::Comprehension(inner) => {
            change(&mut inner.iter_range, bound);
            change(&mut inner.accu_init, bound);
            let before = bound.len();
            bound.push(inner.iter_var.clone());
            bound.extend(inner.iter_var2.clone());
            for part in [&mut inner.loop_cond, &mut inner.loop_step, &mut inner.result] {
                change(part, bound);
            }
            bound.truncate(before);
        }
        _ => {}
    }
}

fn ident(name: &str) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Ident(name.to_owned()) }
}

fn literal(value: LiteralValue) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Literal(value) }
}

fn function(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }) }
}

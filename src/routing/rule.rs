//! One rule: compiled from CEL, checked, run. Knows nothing of routes and destinations.

use std::sync::Arc;

use cel::{Context, Env, ExecutionError, IdedExpr, Value};

use super::check;
use super::facts::Facts;
use super::labels::absent_labels_are_empty;
use crate::domain::scan::Outcome;
use crate::problem::{Problem, Problems};

/// Characters in a rule.
const LONGEST: usize = 4_096;

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
            spawned.map(std::thread::ScopedJoinHandle::join)
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
        let uses_raw = check::check(&self.0, place, program.expression())?;
        let mut expression = program.expression().clone();
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

//! From template files and voices to a [`Renderer`], or to everything that is wrong with them.
//!
//! In this order: each file is compiled; each template that is used, or that no other includes, is walked from the
//! root; then it is tried over reports that say everything and nothing, so that what no walk can see (JSON that is
//! none when a number is null) is found before the first alert.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use handlebars::Template;

use super::engine::{self, Engine};
use super::escape::Dialect;
use super::library::{self, Key, Source};
use super::lint::{self, Compiled};
use super::sample::{bare_report, sample_report};
use super::shape::Shape;
use super::{Renderer, Voice, slack};
use crate::domain::notification::{Kind, WebhookFormat};
use crate::domain::report::Report;
use crate::domain::scan::Outcome;
use crate::problem::{Problem, Problems, did_you_mean};

type Shelf = BTreeMap<Dialect, BTreeMap<String, Compiled>>;

pub(super) fn build(dir: Option<&Path>, voices: &[Voice]) -> Result<Renderer, Problems> {
    let mut problems = Problems::new();
    let sources = library::gather(dir, &mut problems);
    let shelf = compile_all(&sources, &mut problems);
    for voice in voices {
        check_voice(voice, &sources, &mut problems);
    }
    let mut engine = Engine::new();
    let sound = check_templates(&shelf, &roots(&shelf, voices), &mut engine, &mut problems);
    for (dialect, templates) in shelf {
        for (name, compiled) in templates {
            engine.add(&(dialect, name), compiled.template);
        }
    }
    for (key, place) in sound {
        try_out(&engine, &key, &place, &mut problems);
    }
    let voices = voices.iter().map(|voice| (voice.name.clone(), voice.clone())).collect();
    problems.into_result(Renderer { engine, voices })
}

fn compile_all(sources: &BTreeMap<Key, Source>, problems: &mut Problems) -> Shelf {
    let mut shelf = Shelf::new();
    for ((dialect, name), source) in sources {
        match compile(name, source) {
            Ok(compiled) => {
                shelf.entry(*dialect).or_default().insert(name.clone(), compiled);
            }
            Err(problem) => problems.push(problem),
        }
    }
    shelf
}

fn compile(name: &str, source: &Source) -> Result<Compiled, Problem> {
    if lint::too_deep(&source.text) {
        return Err(Problem::new(&source.place, "is nested too deeply").hint("use fewer blocks inside blocks"));
    }
    let template = Template::compile_with_name(&source.text, name.to_owned()).map_err(|error| {
        let line = error.pos().map_or(1, |(line, _)| line);
        let reason = error.reason().to_string();
        let fact = match reason.lines().next().unwrap_or_default() {
            // What follows is a list of names from the parser's grammar.
            syntax if syntax.starts_with("invalid handlebars syntax") => "is not valid Handlebars from here on",
            other => other,
        };
        Problem::new(format!("{}:{line}", source.place), fact)
            .hint("every `{{#…}}` needs its `{{/…}}`, every `{{` its `}}`; the helpers are in docs/templates.md")
    })?;
    Ok(Compiled { place: source.place.clone(), template })
}

/// Whether what a destination asks for exists and fits its kind.
fn check_voice(voice: &Voice, sources: &BTreeMap<Key, Source>, problems: &mut Problems) {
    let place = format!("[destinations.{}]", voice.name);
    for mention in &voice.mentions {
        if let Err(problem) = slack::check_mention(&place, mention) {
            problems.push(problem);
        }
    }
    if voice.kind == Kind::Webhook {
        let wanted = voice.format == WebhookFormat::Template;
        if wanted && voice.template.is_none() {
            let hint = "name it: `template = \"webhook/NAME\"` for NAME.json.hbs in the folder webhook";
            return problems.push(Problem::new(place, "`format = \"template\"` needs a template").hint(hint));
        }
        if !wanted && voice.template.is_some() {
            let hint = "set `format = \"template\"`, or remove `template`";
            return problems.push(Problem::new(place, "has a template that its format does not use").hint(hint));
        }
    }
    let name = voice.template_name();
    for dialect in voice.dialects() {
        if !sources.contains_key(&(*dialect, name.to_owned())) {
            let known = sources.keys().filter(|(other, _)| other == dialect).map(|(_, name)| name.as_str());
            let fact = format!("there is no template `{name}{}`", dialect.extension());
            problems.push(Problem::new(&place, fact).hint(did_you_mean(name, known)));
        }
    }
}

/// The templates that are rendered by themselves: those in use, and those that no other includes.
fn roots(shelf: &Shelf, voices: &[Voice]) -> BTreeSet<Key> {
    let used = voices.iter().flat_map(|voice| {
        voice.dialects().iter().map(|dialect| (*dialect, voice.template_name().to_owned())).collect::<Vec<_>>()
    });
    let mut roots: BTreeSet<Key> = used.collect();
    for (dialect, templates) in shelf {
        let mut included = BTreeSet::new();
        for compiled in templates.values() {
            lint::partials(&compiled.template, &mut included, 0);
        }
        let alone = templates.keys().filter(|name| !included.contains(*name));
        roots.extend(alone.map(|name| (*dialect, name.clone())));
    }
    // Two that include only each other are nobody's root; the circle must be found all the same.
    for (dialect, templates) in shelf {
        roots.extend(in_circles(templates).into_iter().map(|name| (*dialect, name)));
    }
    roots
}

/// The templates that include themselves, directly or through others.
fn in_circles(templates: &BTreeMap<String, Compiled>) -> Vec<String> {
    let direct: BTreeMap<&str, BTreeSet<String>> = templates
        .iter()
        .map(|(name, compiled)| {
            let mut names = BTreeSet::new();
            lint::partials(&compiled.template, &mut names, 0);
            (name.as_str(), names)
        })
        .collect();
    let reaches_itself = |start: &str| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = vec![start];
        while let Some(name) = open.pop() {
            for next in direct.get(name).into_iter().flatten() {
                if next == start {
                    return true;
                }
                if seen.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        false
    };
    direct.keys().filter(|name| reaches_itself(name)).map(|name| (*name).to_owned()).collect()
}

/// Walks every root; answers those that are sound, with their files.
fn check_templates(
    shelf: &Shelf,
    roots: &BTreeSet<Key>,
    engine: &mut Engine,
    problems: &mut Problems,
) -> Vec<(Key, String)> {
    let shape = Shape::of_view();
    let mut sound = Vec::new();
    for key @ (dialect, name) in roots {
        let Some((templates, compiled)) = shelf.get(dialect).and_then(|all| Some((all, all.get(name)?))) else {
            continue; // its problem is known already
        };
        match lint::check(name, templates, &shape) {
            Ok(uses) => {
                engine.looks_at(key.clone(), uses);
                sound.push((key.clone(), compiled.place.clone()));
            }
            Err(found) => {
                for problem in found
                    .iter()
                    .filter(|problem| !problems.iter().any(|known| known == *problem))
                    .cloned()
                    .collect::<Vec<_>>()
                {
                    problems.push(problem);
                }
            }
        }
    }
    sound
}

/// Renders reports of every kind; the first that fails is a problem.
fn try_out(engine: &Engine, (dialect, name): &Key, place: &str, problems: &mut Problems) {
    let bare = Outcome::ALL.map(|outcome| (bare_report(outcome), format!("a report that says only `{outcome}`")));
    let full = (sample_report(), "a report with every field".to_owned());
    for (report, what) in std::iter::once(full).chain(bare) {
        if let Err(why) = try_one(engine, *dialect, name, &report) {
            let hint = "every field may be null: guard it with `{{#if …}}`, or write `{{json …}}` for a JSON value";
            problems.push(Problem::new(place, format!("fails over {what}: {why}")).hint(hint));
            return;
        }
    }
}

fn try_one(engine: &Engine, dialect: Dialect, name: &str, report: &Report) -> Result<(), String> {
    let data = engine.data(&[dialect], name, report)?;
    let text = engine.render(dialect, name, &data)?;
    if dialect.is_json() {
        let value = engine::json(name, &text)?;
        if dialect == Dialect::Slack && !value.is_object() {
            return Err("a Slack message is a JSON object".to_owned());
        }
    }
    Ok(())
}

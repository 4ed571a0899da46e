//! Finds at load what would fail, lie or abort while rendering, by walking the syntax tree of a template.
//!
//! Strict mode does not see a misspelt field inside `{{#if}}`; partials that include each other overflow the stack
//! and abort the process; `{{{x}}}` goes around the escaping. None of these gets past here.

use std::collections::{BTreeMap, BTreeSet};

use handlebars::Template;
use handlebars::template::{BlockParam, DecoratorTemplate, HelperTemplate, Parameter, TemplateElement};

use super::helpers;
use super::shape::{Place, Scope, Shape};
use crate::problem::{Problem, Problems, did_you_mean};

/// Blocks inside blocks inside partials, at most so deep.
const DEEPEST: usize = 48;
/// Elements looked at for one template, partials counted every time they are included.
const MOST: usize = 20_000;

/// A compiled template and the name of its file.
pub(super) struct Compiled {
    /// As a person would look for it.
    pub(super) place: String,
    /// The syntax tree.
    pub(super) template: Template,
}

/// What a template looks at that has to be put there for it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Uses {
    /// It looks into `report.raw`.
    pub(super) raw: bool,
    /// Paths into labels, counts and raw, which a report may lack.
    pub(super) open_paths: BTreeSet<Vec<String>>,
}

/// Checks the template `root` with everything it includes.
pub(super) fn check(root: &str, all: &BTreeMap<String, Compiled>, shape: &Shape) -> Result<Uses, Problems> {
    let mut walk = Walk { all, uses: Uses::default(), problems: Problems::new(), inside: Vec::new(), seen: 0 };
    walk.named(root, &mut Scope::new(shape), 0);
    walk.problems.into_result(walk.uses)
}

/// The names of the partials that `template` includes by name.
pub(super) fn partials(template: &Template, into: &mut BTreeSet<String>, depth: usize) {
    if depth > DEEPEST {
        return;
    }
    for element in &template.elements {
        match element {
            TemplateElement::PartialExpression(partial) | TemplateElement::PartialBlock(partial) => {
                into.extend(partial.name.as_name().map(str::to_owned));
            }
            TemplateElement::HelperBlock(block) => {
                for inner in [&block.template, &block.inverse].into_iter().flatten() {
                    partials(inner, into, depth + 1);
                }
            }
            _ => {}
        }
    }
}

struct Walk<'a> {
    all: &'a BTreeMap<String, Compiled>,
    uses: Uses,
    problems: Problems,
    /// The templates we are in, outermost first.
    inside: Vec<&'a str>,
    seen: usize,
}

impl<'a> Walk<'a> {
    fn named(&mut self, name: &str, scope: &mut Scope<'a>, depth: usize) {
        if let Some((name, compiled)) = self.all.get_key_value(name) {
            self.inside.push(name);
            self.template(&compiled.template, scope, depth);
            self.inside.pop();
        }
    }

    /// Writes a problem down, at `line` of the template we are in; once, however often a partial is included.
    fn problem(&mut self, line: usize, fact: impl Into<String>, hint: impl Into<String>) {
        let file = self.inside.last().and_then(|name| self.all.get(*name)).map_or("template", |found| &found.place);
        let problem = Problem::new(format!("{file}:{line}"), fact).hint(hint);
        if !self.problems.iter().any(|known| *known == problem) {
            self.problems.push(problem);
        }
    }

    fn template(&mut self, template: &'a Template, scope: &mut Scope<'a>, depth: usize) {
        for (index, element) in template.elements.iter().enumerate() {
            let line = template.mapping.get(index).map_or(1, |at| at.0);
            self.seen += 1;
            if depth > DEEPEST || self.seen > MOST {
                return self.problem(line, "is nested too deeply or includes too much", "make it simpler");
            }
            self.element(element, line, scope, depth);
        }
    }

    fn element(&mut self, element: &'a TemplateElement, line: usize, scope: &mut Scope<'a>, depth: usize) {
        match element {
            TemplateElement::Expression(expression) => self.expression(expression, line, scope),
            TemplateElement::HelperBlock(block) => self.block(block, line, scope, depth),
            TemplateElement::PartialExpression(partial) => self.partial(partial, line, scope, depth),
            TemplateElement::HtmlExpression(_) => self.problem(
                line,
                "`{{{…}}}` and `{{&…}}` would go around the escaping",
                "write `{{…}}`: every value is escaped for its destination; `{{json …}}` writes JSON",
            ),
            TemplateElement::PartialBlock(_) => {
                self.problem(line, "`{{#> …}}` is not supported", "include a partial with `{{> name}}`");
            }
            TemplateElement::DecoratorExpression(_) | TemplateElement::DecoratorBlock(_) => self.problem(
                line,
                "`{{#*…}}` is not supported",
                "make the inline partial a file of its own and include it with `{{> name}}`",
            ),
            _ => {}
        }
    }

    /// `{{path}}`, `{{helper …}}`, and the same as a subexpression.
    fn expression(&mut self, expression: &'a HelperTemplate, line: usize, scope: &Scope<'a>) {
        let Some(name) = expression.name.as_name() else {
            return self.problem(line, "a helper must be called by its name", "write the name of the helper");
        };
        let called = !expression.params.is_empty() || !expression.hash.is_empty();
        if !called && !helpers::NAMES.contains(&name) {
            self.path(name, line, scope);
        } else if !helpers::NAMES.contains(&name) {
            self.problem(line, format!("there is no helper `{name}`"), did_you_mean(name, helpers::NAMES));
        }
        self.parameters(expression, line, scope);
    }

    fn parameters(&mut self, helper: &'a HelperTemplate, line: usize, scope: &Scope<'a>) {
        for parameter in helper.params.iter().chain(helper.hash.values()) {
            self.parameter(parameter, line, scope);
        }
    }

    /// A parameter; answers what it stands for where that can be known.
    fn parameter(&mut self, parameter: &'a Parameter, line: usize, scope: &Scope<'a>) -> Option<Place<'a>> {
        match parameter {
            Parameter::Path(_) | Parameter::Name(_) => self.path(parameter.as_name().unwrap_or_default(), line, scope),
            Parameter::Subexpression(inner) => {
                if let TemplateElement::Expression(expression) = inner.as_element() {
                    self.expression(expression, line, scope);
                }
                None
            }
            _ => None,
        }
    }

    fn block(&mut self, block: &'a HelperTemplate, line: usize, scope: &mut Scope<'a>, depth: usize) {
        let name = block.name.as_name().unwrap_or_default();
        if !helpers::BLOCKS.contains(&name) {
            self.problem(line, format!("there is no block `{{{{#{name}}}}}`"), did_you_mean(name, helpers::BLOCKS));
            return;
        }
        let mut first = None;
        for (index, parameter) in block.params.iter().enumerate() {
            let place = self.parameter(parameter, line, scope);
            first = if index == 0 { place } else { first };
        }
        for parameter in block.hash.values() {
            self.parameter(parameter, line, scope);
        }
        let frame = match name {
            "each" => Some(first.map_or_else(Place::anything, Place::item)),
            "with" => Some(first.unwrap_or_else(Place::anything)),
            _ => None,
        };
        if let Some(inner) = &block.template {
            match frame {
                Some(frame) => {
                    scope.push(frame.clone());
                    scope.name_items(&block_names(block), &frame);
                    self.template(inner, scope, depth + 1);
                    scope.pop();
                }
                None => self.template(inner, scope, depth + 1),
            }
        }
        if let Some(inverse) = &block.inverse {
            self.template(inverse, scope, depth + 1);
        }
    }

    fn partial(&mut self, partial: &'a DecoratorTemplate, line: usize, scope: &mut Scope<'a>, depth: usize) {
        let name = match &partial.name {
            Parameter::Name(name) => name.as_str(),
            other @ Parameter::Path(_) => other.as_name().unwrap_or_default(),
            _ => {
                return self.problem(line, "the name of a partial must be written out", "write `{{> name}}`");
            }
        };
        if !self.all.contains_key(name) {
            let hint = did_you_mean(name, self.all.keys().map(String::as_str));
            return self.problem(line, format!("there is no template `{name}` to include"), hint);
        }
        if self.inside.contains(&name) {
            let circle = self.inside.iter().chain([&name]).copied().collect::<Vec<_>>().join(" → ");
            return self.problem(line, format!("includes itself: {circle}"), "break the circle");
        }
        let context = match partial.params.first() {
            Some(parameter) => self.parameter(parameter, line, scope).unwrap_or_else(Place::anything),
            None => scope.here(),
        };
        for parameter in partial.hash.values() {
            self.parameter(parameter, line, scope);
        }
        scope.push(context);
        scope.name_values(partial.hash.keys());
        self.named(name, scope, depth + 1);
        scope.pop();
    }

    /// Looks a path up; says so if it leads nowhere, remembers it if a report may lack it.
    fn path(&mut self, path: &str, line: usize, scope: &Scope<'a>) -> Option<Place<'a>> {
        match scope.find(path) {
            Ok(place) => {
                self.uses.raw |= place.reaches_raw();
                self.uses.open_paths.extend(place.open_path());
                Some(place)
            }
            Err(missing) => {
                let hint = format!("{}; inside a condition it would silently be false", missing.hint());
                self.problem(line, format!("`{path}` is not a field of {}", missing.of), hint);
                None
            }
        }
    }
}

fn block_names(block: &HelperTemplate) -> Vec<String> {
    let names: Vec<&Parameter> = match &block.block_param {
        Some(BlockParam::Single(one)) => vec![one],
        Some(BlockParam::Pair((value, key))) => vec![value, key],
        _ => Vec::new(),
    };
    names.into_iter().filter_map(Parameter::as_name).map(str::to_owned).collect()
}

/// How deep the blocks, else-chains and parentheses of `text` go: asked before it is parsed, because the parser and
/// the renderer recurse as deep as the text does.
pub(super) fn too_deep(text: &str) -> bool {
    let mut chains: Vec<usize> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        rest = rest.get(start + 2..).unwrap_or_default();
        let tag = rest.get(..rest.find("}}").unwrap_or(rest.len())).unwrap_or_default();
        let inner = tag.trim_start_matches(['{', '~', ' ', '\t', '\r', '\n']);
        if inner.starts_with('#') {
            chains.push(1);
        } else if inner.starts_with('/') {
            chains.pop();
        } else if inner.starts_with("else") || inner.starts_with('^') {
            chains.last_mut().into_iter().for_each(|depth| *depth += 1);
        }
        let brackets = tag.chars().filter(|character| matches!(character, '(' | '[' | '{')).count();
        if brackets > DEEPEST || chains.iter().sum::<usize>() > DEEPEST {
            return true;
        }
    }
    false
}

//! An absent label reads as an empty string: the syntax tree of a rule is rewritten to ask first.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators};

use super::check::is_name;

/// Rewrites `labels.team` to `("team" in labels ? labels.team : "")`, `has(labels.team)` to `"team" in labels`.
///
/// The depth was bounded by the walk before.
pub(super) fn absent_labels_are_empty(expression: &mut IdedExpr, bound: &mut Vec<String>) {
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

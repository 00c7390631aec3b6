//! Label and field selectors, of the query and of objects.
//!
//! Source: apimachinery `labels.Parse` and `fields.ParseSelector`.

use serde_json::Value;

use super::json::{items, pairs, text};
use super::kind::Kind;
use super::refusal::Refusal;

/// One requirement on a label or on a field.
#[derive(Clone, Debug)]
struct Requirement {
    /// The label's name, or the JSON pointer of the field.
    name: String,
    /// The values that do; `None` where any does.
    values: Option<Vec<String>>,
    negated: bool,
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let is_in = match (&self.values, value) {
            (None, value) => value.is_some(),
            (Some(values), Some(value)) => values.iter().any(|wanted| wanted == value),
            (Some(_), None) => false,
        };
        is_in != self.negated
    }
}

/// Which objects a list or a watch is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

impl Selector {
    /// Reads the two parameters of a query.
    pub(crate) fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let labels = split(labels).into_iter().map(label);
        let fields = split(fields).into_iter().map(|part| field(kind, part));
        Ok(Self {
            labels: labels.collect::<Result<_, _>>()?,
            fields: fields.collect::<Result<_, _>>()?,
        })
    }

    /// Whether `object` is selected.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = pairs(object, "/metadata/labels");
        let has = |name: &str| labels.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
        self.labels.iter().all(|wanted| wanted.holds(has(&wanted.name)))
            && self.fields.iter().all(|wanted| wanted.holds(Some(text(object, &wanted.name))))
    }
}

/// Splits at the commas that are not within parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let at_comma = |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    text.split(at_comma).map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn compared(part: &str) -> Option<(&str, &str, bool)> {
    let (name, value, negated) = if let Some((name, value)) = part.split_once("!=") {
        (name, value, true)
    } else {
        let (name, value) = part.split_once('=')?;
        (name, value.strip_prefix('=').unwrap_or(value), false)
    };
    Some((name.trim(), value.trim(), negated))
}

fn label(part: &str) -> Result<Requirement, Refusal> {
    let requirement = |name: &str, values, negated| {
        Ok(Requirement { name: name.trim().to_owned(), values, negated })
    };
    if let Some((head, list)) = part.split_once('(') {
        let Some(list) = list.strip_suffix(')') else {
            let message = "unable to parse requirement: found '', expected: ',' or ')'";
            return Err(Refusal::bad_request(message));
        };
        let values = list.split(',').map(|value| value.trim().to_owned());
        let (name, operator) = head.trim().split_once(' ').unwrap_or((head, ""));
        return match operator.trim() {
            "in" => requirement(name, Some(values.collect()), false),
            "notin" => requirement(name, Some(values.collect()), true),
            _ => Err(Refusal::bad_request(format!("unable to parse requirement: {part}"))),
        };
    }
    if let Some((name, value, negated)) = compared(part) {
        return requirement(name, Some(vec![value.to_owned()]), negated);
    }
    match part.strip_prefix('!') {
        Some(name) => requirement(name, None, true),
        None => requirement(part, None, false),
    }
}

fn field(kind: &Kind, part: &str) -> Result<Requirement, Refusal> {
    let Some((name, value, negated)) = compared(part) else {
        return Err(Refusal::bad_request(format!("invalid field selector: {part}")));
    };
    let path = format!(".{name}");
    let known = ["metadata.name", "metadata.namespace"].contains(&name);
    if !known && !kind.selectable.contains(&path) {
        let mut paths = vec!["\"metadata.name\"".to_owned(), "\"metadata.namespace\"".to_owned()];
        paths.extend(kind.selectable.iter().map(|path| format!("\"{}\"", &path[1..])));
        let message =
            format!("\"{name}\" is not a known field selector: only {}", paths.join(", "));
        return Err(Refusal::bad_request(message));
    }
    let values = Some(vec![value.to_owned()]);
    Ok(Requirement { name: path.replace('.', "/"), values, negated })
}

/// Whether the `LabelSelector` in `selector` chooses `object`; an empty one chooses all, a missing one none.
pub(crate) fn chooses(selector: &Value, object: &Value) -> bool {
    if !selector.is_object() {
        return false;
    }
    let expression = |wanted: &Value| {
        let values = items(wanted, "/values").iter().filter_map(Value::as_str).map(str::to_owned);
        let operator = text(wanted, "/operator");
        Requirement {
            name: text(wanted, "/key").to_owned(),
            values: operator.ends_with("In").then(|| values.collect()),
            negated: ["NotIn", "DoesNotExist"].contains(&operator),
        }
    };
    let equal = |(name, value): (&str, &str)| Requirement {
        name: name.to_owned(),
        values: Some(vec![value.to_owned()]),
        negated: false,
    };
    let mut labels: Vec<Requirement> =
        pairs(selector, "/matchLabels").into_iter().map(equal).collect();
    labels.extend(items(selector, "/matchExpressions").iter().map(expression));
    Selector { labels, fields: Vec::new() }.matches(object)
}

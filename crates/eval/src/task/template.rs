//! Templates and expressions of a task's file: from a document to text, lists and numbers.

use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use serde_json::{Map, Value as Json};

use super::filters;

/// What every template is rendered in. What a value holds is never rendered again.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_formatter(write_value);
    let mut syntax = SyntaxConfig::builder();
    syntax.keep_trailing_newline(true);
    if let Ok(syntax) = syntax.build() {
        environment.set_syntax(syntax);
    }
    filters::add(&mut environment);
    environment
});

/// Writes a value into a text: strings as they are, numbers, and truth as Python writes it. Nothing else is text.
fn write_value(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let written = match value.kind() {
        ValueKind::String => out.write_str(value.as_str().unwrap_or_default()),
        ValueKind::Number => write!(out, "{value}"),
        ValueKind::Bool => out.write_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        kind => {
            let message = format!("a value of kind {kind} can't be written into a text");
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
    };
    written.map_err(|_| Error::from(ErrorKind::WriteFailure))
}

/// A document as templates see it.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    json: &'a Map<String, Json>,
    value: Value,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(json: &'a Map<String, Json>) -> Self {
        Self {
            json,
            value: object(json),
        }
    }

    /// What is wrong with a document that a template fails on, in the order of what helps most: a field that is
    /// missing, one that is null, what the engine says.
    fn explain(&self, variables: &[String], error: &Error) -> String {
        let found = |variable: &String| self.find(variable);
        if let Some(name) = variables.iter().find(|name| found(name).is_none()) {
            return format!("the document has no field `{name}`");
        }
        if let Some(name) = variables
            .iter()
            .find(|name| found(name).is_some_and(Json::is_null))
        {
            return format!("the document's field `{name}` is null");
        }
        error
            .detail()
            .map_or_else(|| error.kind().to_string(), str::to_owned)
    }

    /// The value at a path such as `choices.text`, as far as it leads through objects.
    fn find(&self, path: &str) -> Option<&Json> {
        let mut parts = path.split('.');
        let mut value = self.json.get(parts.next()?)?;
        for part in parts {
            match value {
                Json::Object(map) => value = map.get(part)?,
                _ => break,
            }
        }
        Some(value)
    }
}

fn object(map: &Map<String, Json>) -> Value {
    Value::from_pairs(
        map.iter()
            .map(|(key, value)| (key.as_str(), of_json(value))),
    )
}

fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::from(value),
            (_, Some(value)) => Value::from(value),
            _ => Value::from(number.as_f64()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(values) => values.iter().map(of_json).collect(),
        Json::Object(map) => object(map),
    }
}

/// The variables that a template reads, in order.
fn sorted(variables: std::collections::HashSet<String>) -> Vec<String> {
    let mut variables: Vec<_> = variables.into_iter().collect();
    variables.sort();
    variables
}

/// A text with places for values.
#[derive(Debug)]
pub(crate) struct Template {
    environment: Box<Environment<'static>>,
    variables: Vec<String>,
}

impl Template {
    /// Its name in the environment, which has no other.
    const NAME: &str = "template";

    /// Parses a template.
    ///
    /// # Errors
    /// What the engine says of it.
    pub(crate) fn new(source: &str) -> Result<Self, String> {
        let mut environment = ENVIRONMENT.clone();
        let parse = environment.add_template_owned(Self::NAME, source.to_owned());
        parse.map_err(|e| e.to_string())?;
        let template = environment.get_template(Self::NAME);
        let variables = template
            .map_err(|e| e.to_string())?
            .undeclared_variables(true);
        Ok(Self {
            environment: Box::new(environment),
            variables: sorted(variables),
        })
    }

    /// The text for a document.
    ///
    /// # Errors
    /// What is wrong with the document.
    pub(crate) fn render(&self, fields: &Fields<'_>) -> Result<String, String> {
        self.environment
            .get_template(Self::NAME)
            .and_then(|template| template.render(fields.value.clone()))
            .map_err(|e| fields.explain(&self.variables, &e))
    }
}

/// A value made of a document.
#[derive(Debug)]
pub(crate) struct Expression {
    source: String,
    variables: Vec<String>,
}

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    /// What the engine says of it.
    pub(crate) fn new(source: &str) -> Result<Self, String> {
        let expression = ENVIRONMENT.compile_expression(source);
        let variables = expression
            .map_err(|e| e.to_string())?
            .undeclared_variables(true);
        Ok(Self {
            source: source.to_owned(),
            variables: sorted(variables),
        })
    }

    fn value(&self, fields: &Fields<'_>) -> Result<Value, String> {
        // Parsing takes microseconds; what is parsed can't be kept beside its source.
        ENVIRONMENT
            .compile_expression(&self.source)
            .and_then(|expression| expression.eval(fields.value.clone()))
            .map_err(|e| fields.explain(&self.variables, &e))
    }

    fn wrong(&self, fields: &Fields<'_>, message: String) -> String {
        let error = Error::new(ErrorKind::InvalidOperation, message);
        fields.explain(&self.variables, &error)
    }

    /// A list of texts.
    ///
    /// # Errors
    /// What is wrong with the document.
    pub(crate) fn texts(&self, fields: &Fields<'_>) -> Result<Vec<String>, String> {
        let list = self.value(fields)?;
        if !matches!(list.kind(), ValueKind::Seq | ValueKind::Iterable) {
            let message = format!("is a value of kind {}, no list of texts", list.kind());
            return Err(self.wrong(fields, message));
        }
        let values = list.try_iter();
        let values = values.map_err(|e| fields.explain(&self.variables, &e))?;
        values
            .enumerate()
            .map(|(i, value)| match value.as_str() {
                Some(text) => Ok(text.to_owned()),
                // The engine hands an error of a filter on as a value.
                None if value.kind() == ValueKind::Invalid => {
                    Err(self.wrong(fields, format!("number {i} of the list can't be made")))
                }
                None => Err(self.wrong(
                    fields,
                    format!(
                        "number {i} of the list is a value of kind {}, no text",
                        value.kind()
                    ),
                )),
            })
            .collect()
    }

    /// A whole number, or a text that is one to Python's `int`.
    ///
    /// # Errors
    /// What is wrong with the document.
    pub(crate) fn number(&self, fields: &Fields<'_>) -> Result<i64, String> {
        let value = self.value(fields)?;
        let number = match value.kind() {
            ValueKind::Number if value.is_integer() => value.as_i64(),
            ValueKind::String => value
                .as_str()
                .and_then(|text| crate::python::strip(text).parse().ok()),
            _ => None,
        };
        number.ok_or_else(|| self.wrong(fields, format!("is {value:?}, no whole number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(json: &str) -> Map<String, Json> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn values_are_not_rendered_again() {
        let document = document(r#"{"a": "{{ b }} <&> {% x %}\n", "n": 3, "t": true, "f": 0.5}"#);
        let fields = Fields::new(&document);
        let render = |source| Template::new(source).unwrap().render(&fields).unwrap();
        assert_eq!(render("Q: {{ a }}|"), "Q: {{ b }} <&> {% x %}\n|");
        assert_eq!(render("{{ n }} {{ t }} {{ f }}\n"), "3 True 0.5\n");
        assert_eq!(render("{{ 'X  y' | capitalize }}\n\n"), "X  y\n\n");
    }

    #[test]
    fn what_a_document_lacks_is_named() {
        let document = document(r#"{"a": null, "c": {"text": ["x", 1]}, "l": [1], "s": " 7 "}"#);
        let fields = Fields::new(&document);
        let render = |source| Template::new(source).unwrap().render(&fields).unwrap_err();
        assert_eq!(render("{{ b }}"), "the document has no field `b`");
        assert_eq!(
            render("{{ c.label }}"),
            "the document has no field `c.label`"
        );
        assert_eq!(render("{{ b | strip }}"), "the document has no field `b`");
        assert_eq!(render("{{ a }}"), "the document's field `a` is null");
        assert!(render("{{ l }}").contains("kind sequence"));
        let expression = |source| Expression::new(source).unwrap();
        let error = |source| expression(source).texts(&fields).unwrap_err();
        assert_eq!(error("c.label"), "the document has no field `c.label`");
        assert_eq!(error("s"), "is a value of kind string, no list of texts");
        assert!(error("c.text").contains("number 1 of the list"));
        assert_eq!(error("c.text | map('strip')"), "value is not a string");
        assert_eq!(expression("s").number(&fields), Ok(7));
        assert_eq!(expression("3 - 1").number(&fields), Ok(2));
        assert!(
            expression("a")
                .number(&fields)
                .unwrap_err()
                .contains("null")
        );
        let error = expression("['1', '2'] | index_of(s)").number(&fields);
        assert!(error.unwrap_err().contains("' 7 '"));
    }
}

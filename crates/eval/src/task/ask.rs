//! From a document to the texts of its questions.

use super::{Choices, Fields, Form, Prompts, Question, Task, Template};
use crate::{Document, EvalError, Request, python};

/// What follows an example.
const BETWEEN_EXAMPLES: &str = "\n\n";

/// The questions of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The contexts, with the examples before them.
    pub(crate) contexts: Vec<String>,
    /// The questions, each after one of the contexts.
    pub(crate) requests: Vec<Request>,
    /// The number of the right one.
    pub(crate) gold: Option<usize>,
    /// Where the choices are continuations: how many bytes before each belong to the delimiter.
    pub(crate) delimiter: Option<usize>,
    /// Whether scores are also compared by the length of choices.
    pub(crate) normalized: bool,
}

/// The text of a document that is scored as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) text: String,
    /// Words of the text that counts.
    pub(crate) words: usize,
    /// Bytes of the text that counts.
    pub(crate) bytes: usize,
}

/// A document's texts before they are put together.
enum Parts {
    Choices {
        context: String,
        choices: Vec<String>,
    },
    Contexts {
        contexts: Vec<String>,
        continuation: String,
    },
    Cloze {
        context: String,
        continuation: String,
    },
}

impl Question {
    /// The texts and the number of the right choice.
    fn parts(&self, fields: &Fields<'_>) -> Result<(Parts, Option<usize>), (String, String)> {
        let render = |field: &str, template: &Template| {
            template
                .render(fields)
                .map_err(|message| (field.to_owned(), message))
        };
        let all = |field: &str, templates: &[Template]| {
            let each = |(i, template)| render(&format!("{field}[{i}]"), template);
            templates
                .iter()
                .enumerate()
                .map(each)
                .collect::<Result<Vec<_>, _>>()
        };
        let parts = match &self.prompts {
            Prompts::Choices { context, choices } => Parts::Choices {
                context: render("context", context)?,
                choices: match choices {
                    Choices::Templates(templates) => all("choices", templates)?,
                    Choices::Expression(expression) => expression
                        .texts(fields)
                        .map_err(|message| ("choices".to_owned(), message))?,
                },
            },
            Prompts::Contexts {
                contexts,
                continuation,
            } => Parts::Contexts {
                contexts: all("contexts", contexts)?,
                continuation: render("continuation", continuation)?,
            },
            Prompts::Cloze {
                context,
                continuation,
            } => Parts::Cloze {
                context: render("context", context)?,
                continuation: render("continuation", continuation)?,
            },
        };
        let count = match &parts {
            Parts::Choices { choices, .. } => choices.len(),
            Parts::Contexts { contexts, .. } => contexts.len(),
            Parts::Cloze { .. } => 1,
        };
        if count == 0 {
            return Err(("choices".into(), "there are none".into()));
        }
        let Some(gold) = &self.gold else {
            return Ok((parts, None));
        };
        let wrong = |message| ("gold".to_owned(), message);
        let number = gold.number(fields).map_err(wrong)?;
        match usize::try_from(number) {
            Ok(gold) if gold < count => Ok((parts, Some(gold))),
            _ => Err(wrong(format!("is {number}, and there are {count} choices"))),
        }
    }
}

impl Task {
    /// An error about a field of this task's file that a document doesn't go with.
    pub(crate) fn fault(&self, document: &Document, field: String, message: String) -> EvalError {
        EvalError::Document {
            place: Box::new(document.place.clone()),
            task: self.name.clone(),
            field,
            message,
        }
    }

    /// The questions of a document, with examples before it.
    pub(crate) fn ask(
        &self,
        question: &Question,
        document: &Document,
        before: &str,
    ) -> Result<Asked, EvalError> {
        let fields = Fields::new(&document.fields);
        let (parts, gold) = question
            .parts(&fields)
            .map_err(|(field, message)| self.fault(document, field, message))?;
        let request = |context, continuation: &str, delimiter: &str| Request {
            context,
            continuation: [delimiter, continuation].concat(),
        };
        let after = |context: &String| [before, context].concat();
        let delimiter = question.delimiter.as_str();
        Ok(match parts {
            Parts::Choices { context, choices } => Asked {
                contexts: vec![after(&context)],
                requests: choices
                    .iter()
                    .map(|choice| request(0, choice, delimiter))
                    .collect(),
                gold,
                delimiter: Some(delimiter.len()),
                normalized: question.normalized,
            },
            Parts::Contexts {
                contexts,
                continuation,
            } => Asked {
                contexts: contexts.iter().map(after).collect(),
                requests: (0..contexts.len())
                    .map(|i| request(i, &continuation, delimiter))
                    .collect(),
                gold,
                delimiter: None,
                normalized: false,
            },
            Parts::Cloze {
                context,
                continuation,
            } => Asked {
                contexts: vec![after(&context)],
                requests: vec![request(0, &continuation, "")],
                gold,
                delimiter: None,
                normalized: false,
            },
        })
    }

    /// A document with its right answer, as it stands before questions.
    ///
    /// # Errors
    /// The document can't be written.
    pub(crate) fn example(&self, document: &Document) -> Result<String, EvalError> {
        let Form::Question(question) = &self.form else {
            return Ok(String::new());
        };
        let fields = Fields::new(&document.fields);
        let (parts, gold) = question
            .parts(&fields)
            .map_err(|(field, message)| self.fault(document, field, message))?;
        let gold = gold.unwrap_or(0);
        let (context, answer) = match &parts {
            Parts::Choices { context, choices } => (context, &choices[gold]),
            Parts::Contexts {
                contexts,
                continuation,
            } => (&contexts[gold], continuation),
            Parts::Cloze {
                context,
                continuation,
            } => (context, continuation),
        };
        // To the harness an empty answer is none, unless it is one of several choices.
        if answer.is_empty() && !matches!(parts, Parts::Choices { .. }) {
            return Ok(context.clone());
        }
        Ok([context, &question.delimiter, answer, BETWEEN_EXAMPLES].concat())
    }

    /// The text of a document that is scored as a whole.
    pub(crate) fn whole(
        &self,
        text: &Template,
        measured: Option<&Template>,
        document: &Document,
    ) -> Result<Whole, EvalError> {
        let fields = Fields::new(&document.fields);
        let render = |field: &str, template: &Template| {
            template
                .render(&fields)
                .map_err(|message| self.fault(document, field.into(), message))
        };
        let text = render("text", text)?;
        let measured = match measured {
            Some(template) => Some(render("measured", template)?),
            None => None,
        };
        let counts = measured.as_deref().unwrap_or(&text);
        Ok(Whole {
            words: python::count_words(counts),
            bytes: counts.len(),
            text,
        })
    }
}

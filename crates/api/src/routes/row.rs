//! A row of the table of routes, and how one is written.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::policy::Access;

/// The method of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
}

impl Method {
    /// Its name, as HTTP writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// Writes a type's schema; types that have a name go into the generator's definitions.
pub type Schematic = fn(&mut SchemaGenerator) -> Schema;

/// The place of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the path.
    Path,
    /// In the query.
    Query,
    /// A header.
    Header,
}

/// A parameter of a route.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its place.
    pub place: Place,
    /// Whether a request needs it; path parameters always are.
    pub required: bool,
    /// What it means.
    pub about: &'static str,
    /// Its type.
    pub schema: Schematic,
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    /// Its media type.
    pub media: &'static str,
    /// Whether a request needs it.
    pub required: bool,
    /// Its type; `None` for bytes.
    pub schema: Option<Schematic>,
}

/// A response of success.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its status.
    pub status: u16,
    /// What it means.
    pub about: &'static str,
    /// Its bodies: media type and type; `None` for text.
    pub bodies: Vec<(&'static str, Option<Schematic>)>,
}

/// The form of a route's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Errors {
    /// [`crate::Problem`].
    Problem,
    /// [`crate::openai::ErrorBody`].
    OpenAi,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// The operation's id, for generated clients.
    pub id: &'static str,
    /// The operation in one sentence.
    pub summary: &'static str,
    /// The group it is listed under.
    pub tag: &'static str,
    /// The parameters.
    pub parameters: Vec<Parameter>,
    /// The body of the request.
    pub body: Option<Body>,
    /// The responses of success; none for a route that always refuses.
    pub outcomes: Vec<Outcome>,
    /// Statuses of errors, in order.
    pub errors: Vec<u16>,
    /// The form of errors.
    pub form: Errors,
    /// Whether `Idempotency-Key` replays the kept response.
    pub repeatable: bool,
    /// Who may call it.
    pub access: Access,
}

/// The schema of `T`.
pub(super) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Route {
    fn new(method: Method, path: &'static str, id: &'static str, access: Access, summary: &'static str) -> Self {
        let tag = path.trim_start_matches("/api/v1/").split('/').next().unwrap_or_default();
        Self {
            method,
            path,
            id,
            summary,
            tag,
            parameters: Vec::new(),
            body: None,
            outcomes: Vec::new(),
            errors: Vec::new(),
            form: Errors::Problem,
            repeatable: false,
            access,
        }
    }

    pub(super) fn get(path: &'static str, id: &'static str, access: Access, summary: &'static str) -> Self {
        Self::new(Method::Get, path, id, access, summary)
    }

    pub(super) fn post(path: &'static str, id: &'static str, access: Access, summary: &'static str) -> Self {
        Self::new(Method::Post, path, id, access, summary).fails(&[400])
    }

    pub(super) fn tag(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    pub(super) fn with<T: JsonSchema>(
        mut self,
        place: Place,
        name: &'static str,
        required: bool,
        about: &'static str,
    ) -> Self {
        self.parameters.push(Parameter { name, place, required, about, schema: schema_of::<T> });
        self
    }

    /// A parameter of the path; one that is malformed is 400, one that is unknown 404.
    pub(super) fn at<T: JsonSchema>(self, name: &'static str, about: &'static str) -> Self {
        self.with::<T>(Place::Path, name, true, about).fails(&[400, 404])
    }

    pub(super) fn query<T: JsonSchema>(self, name: &'static str, about: &'static str) -> Self {
        self.with::<T>(Place::Query, name, false, about).fails(&[400])
    }

    pub(super) fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(Body { media: JSON, required: true, schema: Some(schema_of::<T>) });
        self.fails(&[400, 413, 415])
    }

    pub(super) fn may_take<T: JsonSchema>(self) -> Self {
        let mut route = self.takes::<T>();
        route.body = route.body.map(|body| Body { required: false, ..body });
        route
    }

    pub(super) fn takes_bytes(mut self, media: &'static str) -> Self {
        self.body = Some(Body { media, required: true, schema: None });
        self.fails(&[413, 415, 422])
    }

    pub(super) fn gives<T: JsonSchema>(self, about: &'static str) -> Self {
        self.gives_with::<T>(200, about)
    }

    pub(super) fn gives_with<T: JsonSchema>(mut self, status: u16, about: &'static str) -> Self {
        let bodies = vec![(JSON, Some(schema_of::<T> as Schematic))];
        self.outcomes.push(Outcome { status, about, bodies });
        self
    }

    /// The same status in another media type.
    pub(super) fn or_gives(mut self, media: &'static str, schema: Option<Schematic>) -> Self {
        if let Some(last) = self.outcomes.last_mut() {
            last.bodies.push((media, schema));
        }
        self
    }

    pub(super) fn gives_text(mut self, media: &'static str, about: &'static str) -> Self {
        let bodies = vec![(media, None)];
        self.outcomes.push(Outcome { status: 200, about, bodies });
        self
    }

    /// The type behind the last response, where that is text of another form.
    pub(super) fn describes(mut self, schema: Schematic) -> Self {
        if let Some(last) = self.outcomes.last_mut() {
            last.bodies.iter_mut().for_each(|body| body.1 = Some(schema));
        }
        self
    }

    /// A page of `T`, wanted by `limit` and `after`.
    pub(super) fn lists<T: JsonSchema>(self, about: &'static str) -> Self
    where
        crate::Page<T>: JsonSchema,
    {
        self.with_limits().gives::<crate::Page<T>>(about)
    }

    pub(super) fn with_limits(self) -> Self {
        self.query::<Limit>("limit", "Most items on the page; without it, 100.")
            .query::<Cursor>("after", "The `next` of the page before; without it, the first page.")
    }

    pub(super) fn fails(mut self, statuses: &[u16]) -> Self {
        self.errors.extend_from_slice(statuses);
        self.errors.sort_unstable();
        self.errors.dedup();
        self
    }

    /// A repeat under the same `Idempotency-Key` gets the kept response.
    pub(super) fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self.with::<IdempotencyKey>(
            Place::Header,
            "Idempotency-Key",
            false,
            "Names the call: a repeat under the same key, path and body gets the kept response.",
        )
        .fails(&[409])
    }

    pub(super) fn openai(mut self) -> Self {
        self.form = Errors::OpenAi;
        self.tag("openai")
    }
}

/// The media type of JSON.
const JSON: &str = "application/json";
/// The media type of server-sent events.
pub(crate) const EVENTS: &str = "text/event-stream";

/// The type of `limit`.
#[derive(JsonSchema)]
#[schemars(inline, transparent)]
#[expect(dead_code, reason = "it only describes a parameter")]
struct Limit(#[schemars(range(min = 1, max = 500))] u32);

/// The type of `after`.
#[derive(JsonSchema)]
#[schemars(inline, transparent)]
#[expect(dead_code, reason = "it only describes a parameter")]
struct Cursor(#[schemars(length(min = 1, max = 200))] String);

/// The type of `Idempotency-Key`.
#[derive(JsonSchema)]
#[schemars(inline, transparent)]
#[expect(dead_code, reason = "it only describes a parameter")]
struct IdempotencyKey(#[schemars(regex(pattern = r"^[!-~]([ -~]{0,198}[!-~])?$"))] String);

//! States: always a colour, a glyph and a word, the same everywhere.

use askama::Template;
use towpath_model::state::{RunState, TaskState};

/// A state with its word beside the glyph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Template)]
#[template(path = "parts/badge.html")]
pub(crate) struct Badge {
    /// Of the state; also names its style and glyph.
    name: &'static str,
}

impl askama::filters::HtmlSafe for Badge {}

/// A state as a glyph alone that links to its run or task instance; the word is for hover and for
/// those who do not see.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "parts/dot.html")]
pub(crate) struct Dot {
    pub(crate) badge: Badge,
    pub(crate) href: String,
    /// What is said on hover beside the state.
    pub(crate) about: String,
}

impl askama::filters::HtmlSafe for Dot {}

impl From<TaskState> for Badge {
    fn from(state: TaskState) -> Self {
        Self { name: state.into() }
    }
}

impl From<RunState> for Badge {
    fn from(state: RunState) -> Self {
        Self { name: state.into() }
    }
}

impl Badge {
    /// Those of task instances, for a legend.
    pub(crate) fn every_task() -> Vec<Self> {
        use strum::IntoEnumIterator as _;
        TaskState::iter().map(Self::from).collect()
    }

    /// Of the state; also names its glyph.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The class that carries its colour.
    pub(crate) fn class(&self) -> String {
        format!("s-{}", self.name)
    }

    /// The state in words.
    pub(crate) fn word(&self) -> String {
        match self.name {
            "none" => "waiting".to_owned(),
            name => name.replace('_', " "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    const GLYPHS: &str = include_str!("../../../../web/templates/glyphs.html");
    const STYLE: &str = include_str!("../../../../web/assets/towpath.css");

    #[test]
    fn every_state_has_a_glyph_and_a_colour() {
        let badges = TaskState::iter().map(Badge::from).chain(RunState::iter().map(Badge::from));
        for Badge { name } in badges {
            assert!(GLYPHS.contains(&format!("id=\"g-{name}\"")), "{name} has no glyph");
            assert!(STYLE.contains(&format!(".s-{name} {{")), "{name} has no colour");
        }
    }

    #[test]
    fn a_badge_in_html() {
        insta::assert_snapshot!(Badge::from(TaskState::UpForRetry).to_string(), @r##"<span class="state s-up_for_retry"><svg class="glyph" aria-hidden="true"><use href="#g-up_for_retry"/></svg>up for retry</span>"##);
    }
}

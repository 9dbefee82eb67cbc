//! Progress on long work: one moving line on a terminal, one line per ten seconds elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use affluent_engine::{Event, Observer};
use indicatif::{ProgressBar, ProgressStyle};

use crate::render::screen::{Screen, complain, number};

/// Between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows what a run tells.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    last_line: Mutex<Instant>,
}

impl Progress {
    pub(crate) fn new(screen: &Screen) -> Self {
        let is_live = !screen.quiet && std::io::stderr().is_terminal();
        let bar = is_live.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, quiet: screen.quiet, last_line: Mutex::new(Instant::now()) }
    }

    /// Removes the moving line, so that other text can be printed.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        let Ok(mut last) = self.last_line.lock() else { return };
        if !self.quiet && last.elapsed() >= LINE_EVERY {
            complain(text);
            *last = Instant::now();
        }
    }
}

impl Observer for Progress {
    fn notice(&self, event: Event) {
        let text = match event {
            Event::Compiling { plugin } => format!("compiling plugin {plugin} for this machine"),
            Event::Reading { pipeline, stream, records } => format!("{pipeline}: reading {stream}, {} records", number(records)),
            Event::Unifying { records } => format!("unifying {} records", number(records)),
            Event::Computing { step } => format!("computing {step}"),
            Event::Sending { pipeline, sent, of } => format!("{pipeline}: sent {} of {}", number(sent), number(of)),
            Event::Waiting { reason, for_ms } => {
                format!("waiting {:.0} s: {reason}", Duration::from_millis(for_ms).as_secs_f64())
            }
        };
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None => self.line(&text),
        }
    }
}

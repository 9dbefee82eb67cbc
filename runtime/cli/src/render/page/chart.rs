//! Charts as inline SVG and coloured tables: every value stands in the page as text or as a tooltip, colour is never the
//! only sign.

use maud::{Markup, html};

/// Width of a chart in its own units; it is stretched to the page.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 240.0;
/// Room for the scale at the left and the names below.
const LEFT: f64 = 64.0;
const BELOW: f64 = 24.0;
const ABOVE: f64 = 8.0;
/// Names below a chart at most; of more, every n-th is written.
const NAMES_MAX: usize = 12;
/// A cell darker than this has light text.
const STRONG: f64 = 0.75;
/// Share of a slot that a bar fills.
const BAR: f64 = 0.72;

/// Bars with names below and a tooltip each: name, height, tooltip. `curve` is drawn over them on a scale of its own
/// from 0 to 1.
pub(crate) fn bars(bars: &[(String, f64, String)], curve: Option<&[f64]>, scale: impl Fn(f64) -> String) -> Markup {
    let top = nice_top(bars.iter().map(|(_, height, _)| *height).fold(0.0, f64::max));
    let slots = number(bars.len().max(1));
    let slot = (WIDTH - LEFT) / slots;
    let floor = HEIGHT - BELOW;
    let y = |value: f64| floor - value / top * (floor - ABOVE);
    let every = bars.len().div_ceil(NAMES_MAX).max(1);
    let x = |place: usize| LEFT + slot * number(place);
    let steps = [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| part * top);
    let points = curve.map(|curve| points(curve, |place| x(place) + slot / 2.0, |part| floor - part * (floor - ABOVE)));
    html! {
        div.scroll {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" {
                @for step in steps {
                    line.axis x1=(LEFT) x2=(WIDTH) y1=(short(y(step))) y2=(short(y(step))) {}
                    text x=(LEFT - 8.0) y=(short(y(step) + 4.0)) text-anchor="end" { (scale(step)) }
                }
                @for (place, (name, height, tip)) in bars.iter().enumerate() {
                    rect.first x=(short(x(place) + slot * (1.0 - BAR) / 2.0)) y=(short(y(*height))) width=(short(slot * BAR))
                        height=(short((floor - y(*height)).max(0.0))) rx="2" { title { (tip) } }
                    @if place % every == 0 {
                        text x=(short(x(place) + slot / 2.0)) y=(HEIGHT - 6.0) text-anchor="middle" { (name) }
                    }
                }
                @if let Some(points) = points { polyline.curve points=(points) {} }
            }
        }
    }
}

/// One bar a row, with its name and its value: for rankings.
pub(crate) fn ranking(rows: &[(String, f64, String)]) -> Markup {
    let top = rows.iter().map(|(_, length, _)| *length).fold(0.0, f64::max);
    let height = 26.0;
    let (from, to) = (130.0, 285.0);
    html! {
        svg viewBox=(format!("0 0 350 {}", height * number(rows.len()))) role="img" {
            @for (place, (name, length, value)) in rows.iter().enumerate() {
                @let y = height * number(place);
                @let width = if top > 0.0 { (to - from) * length.max(0.0) / top } else { 0.0 };
                text x=(from - 8.0) y=(short(y + 17.0)) text-anchor="end" { (clipped(name)) title { (name) } }
                rect.first x=(from) y=(short(y + 5.0)) width=(short(width)) height=(height - 10.0) rx="2" {}
                text x=(short(from + width + 6.0)) y=(short(y + 17.0)) { (value) }
            }
        }
    }
}

/// A part of a whole that is filled, and another that only seems to be.
pub(crate) struct Fill {
    pub(crate) name: String,
    pub(crate) filled: f64,
    pub(crate) junk: f64,
    pub(crate) value: String,
    pub(crate) tip: String,
}

/// Width of a bar of a whole, and where it begins.
const WHOLE: (f64, f64) = (220.0, 620.0);

/// One bar a row on a track that is the whole.
pub(crate) fn fills(rows: &[Fill]) -> Markup {
    let height = 22.0;
    let (from, width) = WHOLE;
    html! {
        div.scroll {
            svg viewBox=(format!("0 0 {WIDTH} {}", height * number(rows.len()))) role="img" {
                @for (place, row) in rows.iter().enumerate() {
                    @let y = height * number(place);
                    @let filled = width * row.filled.clamp(0.0, 1.0);
                    @let junk = (width * row.junk.clamp(0.0, 1.0)).min(width - filled);
                    g {
                        title { (row.tip) }
                        text x=(from - 10.0) y=(short(y + 15.0)) text-anchor="end" { (clipped(&row.name)) }
                        rect.track x=(from) y=(short(y + 4.0)) width=(short(width)) height=(height - 8.0) rx="2" {}
                        rect.first x=(from) y=(short(y + 4.0)) width=(short(filled)) height=(height - 8.0) rx="2" {}
                        rect.second x=(short(from + filled)) y=(short(y + 4.0)) width=(short(junk)) height=(height - 8.0) rx="2" {}
                        text x=(short(from + width + 10.0)) y=(short(y + 15.0)) { (row.value) }
                    }
                }
            }
        }
    }
}

/// One bar a row for a share of a whole: name, share from 0 to 1, value.
pub(crate) fn shares(rows: &[(String, f64, String)]) -> Markup {
    let fill = |(name, share, value): &(String, f64, String)| Fill {
        name: name.clone(),
        filled: *share,
        junk: 0.0,
        value: value.clone(),
        tip: format!("{name}: {value}"),
    };
    fills(&rows.iter().map(fill).collect::<Vec<_>>())
}

/// A cell of a heat map; `share` from 0 to 1 is its strength.
pub(crate) struct Cell {
    pub(crate) share: f64,
    pub(crate) text: String,
    /// Smaller, below; may be empty.
    pub(crate) detail: String,
    pub(crate) tip: String,
}

/// A heat map: a head, and rows of a name and cells; `None` is an empty cell.
pub(crate) fn heat_map(head: &[String], rows: &[(Vec<String>, Vec<Option<Cell>>)]) -> Markup {
    html! {
        div.scroll {
            table.heat {
                thead { tr { @for name in head { th scope="col" { (name) } } } }
                tbody {
                    @for (names, cells) in rows {
                        tr {
                            @for name in names { th scope="row" { (name) } }
                            @for cell in cells {
                                @match cell {
                                    Some(cell) => td class=(class_of(cell)) style=(format!("--share:{:.3}", cell.share.clamp(0.0, 1.0))) title=(cell.tip) {
                                        (cell.text) @if !cell.detail.is_empty() { small { (cell.detail) } }
                                    },
                                    None => td {},
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What the colours of a chart are: the bars and the curve.
pub(crate) fn key(bars: &str, curve: &str) -> Markup {
    html! { div.key { span.a { (bars) } @if !curve.is_empty() { span.b { (curve) } } } }
}

fn class_of(cell: &Cell) -> &'static str {
    if cell.share > STRONG { "on strong" } else { "on" }
}

fn points(curve: &[f64], x: impl Fn(usize) -> f64, y: impl Fn(f64) -> f64) -> String {
    let points = curve.iter().enumerate().map(|(place, part)| format!("{},{}", short(x(place)), short(y(part.clamp(0.0, 1.0)))));
    points.collect::<Vec<_>>().join(" ")
}

/// The next round number above: 1, 2, 2.5 or 5 times a power of ten.
fn nice_top(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= value).unwrap_or(10.0 * power)
}

/// Letters of a name that stand beside a bar.
const NAME_LETTERS_MAX: usize = 22;

fn clipped(name: &str) -> String {
    if name.chars().count() <= NAME_LETTERS_MAX {
        return name.to_owned();
    }
    name.chars().take(NAME_LETTERS_MAX - 1).chain(['…']).collect()
}

/// A coordinate with one decimal.
fn short(value: f64) -> String {
    format!("{value:.1}")
}

#[expect(clippy::cast_precision_loss, reason = "places in a list in memory")]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_a_round_number() {
        let cases = [(0.0, 1.0), (7.0, 10.0), (18.0, 20.0), (21.0, 25.0), (300.0, 500.0)];
        for (value, expected) in cases {
            assert!((nice_top(value) - expected).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn names_from_data_cannot_leave_their_element() {
        let page = ranking(&[("<script>alert(1)</script>".to_owned(), 1.0, "1".to_owned())]).into_string();

        assert!(!page.contains("<script>"), "{page}");
    }
}

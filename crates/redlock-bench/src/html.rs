//! The report: one self-contained page, for readers who have never seen this project.

use std::fmt::Write as _;

use crate::{
    chart::{self, Text},
    results::{Plot, Results, Section, Table, Target},
    table::cells,
};

const STYLE: &str = "\
:root{--ground:#fff;--card:#f6f8fa;--text:#1f2328;--soft:#656d76;--line:#d8dee4;--good:#1a7f37;--bad:#cf222e;\
--ours:#2f74d0;--fred:#0f958c;--rslock:#d9822b;--redlock:#b5478f;--floor:#8c959f;--floorfred:#b3bcc6}\
@media(prefers-color-scheme:dark){:root{--ground:#0d1117;--card:#161b22;--text:#e6edf3;--soft:#9198a1;--line:#30363d;\
--good:#3fb950;--bad:#ff7b72;--ours:#4a90e8;--fred:#1fb5aa;--rslock:#e39b4d;--redlock:#d573b2;--floor:#7d8590;\
--floorfred:#565e68}}\
*{box-sizing:border-box}\
body{margin:0 auto;padding:2rem 1.25rem 4rem;max-width:68rem;background:var(--ground);color:var(--text);\
font:15px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\
h1{font-size:1.7rem;margin:0 0 .3rem}h2{font-size:1.25rem;margin:2.8rem 0 .3rem;border-top:1px solid var(--line);\
padding-top:1.6rem}h3{font-size:1rem;margin:1.6rem 0 .4rem}\
h2 .id{color:var(--soft);font-weight:500;margin-right:.5rem}p{max-width:50rem;margin:.4rem 0}\
.soft,.small{color:var(--soft)}a{color:var(--ours)}\
.facts{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:1rem 0;padding:.8rem 1rem;\
background:var(--card);border-radius:8px;font-size:.9rem;overflow-wrap:anywhere}.facts dt{color:var(--soft)}\
.facts dd{margin:0}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums;margin:.4rem 0}\
th,td{padding:.22rem .7rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}\
th{font-weight:600;color:var(--soft)}th:first-child,td:first-child{text-align:left;padding-left:0}\
td.note{text-align:left;color:var(--soft);white-space:normal;min-width:14rem}\
.targets td,.targets th{text-align:left;white-space:normal}.met{color:var(--good)}.missed{color:var(--bad)}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(28rem,100%),1fr));gap:.6rem 2rem;margin:.6rem 0}\
svg{width:100%;max-width:38rem;height:auto}svg.wide{max-width:52rem}svg text{font-size:12.5px;fill:var(--text)}svg .caption{font-weight:600}\
svg .small{font-size:11.5px;fill:var(--soft)}\
.range{stroke:var(--text);stroke-width:1.2;stroke-opacity:.55;fill:none}.grid{stroke:var(--line)}\
.ours{fill:var(--ours);stroke:var(--ours)}.fred{fill:var(--fred);stroke:var(--fred)}\
.rslock{fill:var(--rslock);stroke:var(--rslock)}.redlock{fill:var(--redlock);stroke:var(--redlock)}\
.floor{fill:var(--floor);stroke:var(--floor)}.floorfred{fill:var(--floorfred);stroke:var(--floorfred)}\
rect{stroke-width:0}.variant{fill-opacity:.55}.line{fill:none!important;stroke-width:2.2}\
details{margin:.4rem 0}summary{cursor:pointer;color:var(--soft)}";

/// Returns the whole page.
pub(crate) fn page(results: &Results) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>Redlock: how fast</title>\n<style>{STYLE}</style>\n\
         </head>\n<body>\n"
    );
    head(&mut html, results);
    for section in &results.sections {
        one(&mut html, section);
    }
    html.push_str("</body>\n</html>\n");
    html
}

fn head(html: &mut String, results: &Results) {
    let all = || results.sections.iter().flat_map(|section| &section.targets);
    let met = all().filter(|target| target.met).count();
    let _ = write!(
        html,
        "<h1>Redlock: how fast</h1>\n\
         <p>A distributed lock is acquired on several independent Redis servers, and is held when a majority \
         has granted it. Measured side by side: this library over its two Redis clients (<i>ours</i>), the \
         two Redlock libraries on crates.io (<i>rslock</i>, and <i>redlock</i>, which blocks its thread), \
         and the <i>floor</i>: the bare commands that a lock needs, sent with the same client and nothing \
         around them.</p>\n\
         <p>Contenders took turns in rounds, each round in another order. A number is the median over the \
         rounds; a thin line over a bar goes from the least to the greatest round. Ratios are computed within \
         each round, and their median is shown. µs are millionths of a second. Times depend on the machine \
         and on its other work; ratios depend on them much less.</p>\n<dl class=\"facts\">"
    );
    for (name, fact) in &results.facts {
        let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", Text(name), Text(fact));
    }
    let _ = write!(html, "<dt>targets</dt><dd>{met} of {} met</dd></dl>\n<p>", all().count());
    for section in &results.sections {
        let (id, title) = (section.id, Text(section.title));
        let met = section.targets.iter().filter(|target| target.met).count();
        let verdict = match section.targets.len() {
            0 => String::new(),
            all => format!(" <span class=\"{}\">{met} of {all}</span>", if met == all { "met" } else { "missed" }),
        };
        let _ = writeln!(html, "<a href=\"#{id}\">{id} {title}</a>{verdict}<br>");
    }
    html.push_str("</p>\n");
}

fn one(html: &mut String, section: &Section) {
    let (id, title) = (section.id, Text(section.title));
    let _ = writeln!(html, "<h2 id=\"{id}\"><span class=\"id\">{id}</span>{title}</h2>\n<p>{}</p>", Text(section.what));
    for table in &section.tables {
        if !table.title.is_empty() {
            let _ = writeln!(html, "<h3>{}</h3>", Text(&table.title));
        }
        plots(html, table);
        numbers(html, table);
    }
    for note in &section.notes {
        let _ = writeln!(html, "<p class=\"soft\">{}</p>", Text(note));
    }
    if !section.targets.is_empty() {
        targets(html, &section.targets);
    }
}

fn plots(html: &mut String, table: &Table) {
    html.push_str("<div class=\"charts\">\n");
    match &table.plot {
        Plot::Bars(keys) => {
            for metric in keys.iter().filter_map(|key| table.metrics.iter().find(|metric| metric.key == *key)) {
                html.push_str(&chart::bars(table, metric));
            }
        }
        Plot::Lines(axis) => html.push_str(&chart::lines(table, axis)),
        Plot::None => {}
    }
    html.push_str("</div>\n");
}

fn numbers(html: &mut String, table: &Table) {
    html.push_str("<div class=\"scroll\"><table>\n");
    for (index, line) in cells(table).iter().enumerate() {
        let cell = if index == 0 { "th" } else { "td" };
        html.push_str("<tr>");
        for text in line {
            let _ = write!(html, "<{cell}>{}</{cell}>", Text(text));
        }
        if let Some(note) = index.checked_sub(1).and_then(|row| table.rows.get(row)?.note.as_ref()) {
            let _ = write!(html, "<td class=\"note\">{}</td>", Text(note));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table></div>\n");
}

fn targets(html: &mut String, targets: &[Target]) {
    html.push_str(
        "<h3>Targets</h3>\n<div class=\"scroll\"><table class=\"targets\">\n<tr><th></th><th>measured</th><th>wanted</th>\
         <th></th></tr>\n",
    );
    for target in targets {
        let (class, verdict) = if target.met { ("met", "met") } else { ("missed", "missed") };
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"{class}\">{verdict}</td></tr>",
            Text(&target.what),
            Text(&target.measured),
            Text(&target.wanted)
        );
    }
    html.push_str("</table></div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        contender::Contender,
        results::{Better, Metric, Slice},
    };

    fn results() -> Results {
        let metrics = [Metric::new("p50", "p50", "µs", Better::Lower)];
        let mut table = Table::new("3 <nodes>", &metrics, &Contender::all()).ratio("p50", "x floor");
        table.plot = Plot::Bars(vec!["p50"]);
        for row in &mut table.rows {
            row.add(0, Slice::from([("p50", 100.0)]));
        }
        let section = Section {
            id: "W1",
            title: "A lock",
            what: "One task.",
            tables: vec![table],
            targets: vec![Target::at_most("ours", 1.0, 1.1, " x"), Target::at_most("ours", 1.2, 1.1, " x")],
            notes: vec!["a note".to_owned()],
        };
        Results { facts: vec![("machine".to_owned(), "a & b".to_owned())], sections: vec![section] }
    }

    #[test]
    fn the_page_is_self_contained() {
        let page = page(&results());
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn every_part_is_there_and_escaped() {
        let page = page(&results());
        for part in ["3 &lt;nodes&gt;", "a &amp; b", "1 of 2 met", "<svg", ">x floor<", "a note", "missed"] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn every_element_is_closed() {
        let page = page(&results());
        for tag in ["table", "tr", "td", "th", "svg", "text", "div", "p", "h2", "h3", "dl", "dd", "span", "a"] {
            let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}

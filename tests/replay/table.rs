//! What came out, as the tables of `docs/local-vault.md`.

use std::collections::BTreeMap;

use crate::classify::{Group, REASONS, reason};
use crate::player::Outcome;
use crate::recording::Exchange;

/// Counts over all exchanges.
#[derive(Default)]
pub struct Table {
    rows: BTreeMap<String, Row>,
    reasons: BTreeMap<usize, usize>,
    not_sent: BTreeMap<&'static str, usize>,
    notes: BTreeMap<&'static str, usize>,
    /// Differences that nobody explained, one a line.
    pub unknown: Vec<String>,
}

#[derive(Clone, Default)]
struct Row {
    exchanges: usize,
    not_sent: usize,
    agreed: usize,
    by_group: BTreeMap<Group, usize>,
}

impl Table {
    /// Counts what became of one exchange.
    pub fn add(&mut self, exchange: &Exchange, outcome: &Outcome) {
        let op = if exchange.op == "set-bad-path" { "set" } else { exchange.op.as_str() };
        let mut row = self.rows.remove(op).unwrap_or_default();
        row.exchanges += 1;
        match outcome {
            Outcome::NotSent(why) => {
                row.not_sent += 1;
                *self.not_sent.entry(*why).or_default() += 1;
            }
            Outcome::Compared { differences, notes } => {
                notes.iter().for_each(|note| *self.notes.entry(*note).or_default() += 1);
                let mut reasons: Vec<Option<usize>> = differences.iter().map(|it| reason(exchange, it)).collect();
                let unknown = differences.iter().zip(&reasons).filter(|(_, reason)| reason.is_none());
                self.unknown.extend(unknown.map(|(it, _)| format!("line {} {} {it:?}", exchange.line, exchange.op)));
                reasons.sort_unstable();
                reasons.dedup();
                row.count(&reasons);
                reasons.into_iter().flatten().for_each(|reason| *self.reasons.entry(reason).or_default() += 1);
            }
        }
        self.rows.insert(op.to_owned(), row);
    }

    /// Of those sent: how many agreed, with and without those that differ by no doing of the local vault.
    pub fn shares(&self) -> (f64, f64) {
        let all = self.sum();
        let sent = (all.exchanges - all.not_sent) as f64;
        let ours = all.by_group.get(&Group::Ours).copied().unwrap_or_default();
        (100.0 * (sent - ours as f64) / sent, 100.0 * all.agreed as f64 / sent)
    }

    fn sum(&self) -> Row {
        self.rows.values().fold(Row::default(), |mut sum, row| {
            sum.exchanges += row.exchanges;
            sum.not_sent += row.not_sent;
            sum.agreed += row.agreed;
            row.by_group.iter().for_each(|(group, count)| *sum.by_group.entry(*group).or_default() += count);
            sum
        })
    }

    /// The tables in Markdown.
    pub fn markdown(&self) -> String {
        let headings = Group::ALL.map(Group::heading).join(" | ");
        let mut text =
            format!("| operation | exchanges | not sent | agreed | {headings} |\n|---|--:|--:|--:|--:|--:|--:|--:|\n");
        self.rows.iter().for_each(|(op, row)| text += &row.markdown(op));
        text += &self.sum().markdown("all");
        let (without, strictly) = self.shares();
        text += &format!(
            "\n{without:.2} % of those sent agree but for what older builds, the recorder and the vault's setup account for; \
             {strictly:.2} % agree in everything.\n"
        );
        text += "\n| exchanges | column | why they differ |\n|--:|---|---|\n";
        for (position, count) in &self.reasons {
            let reason = &REASONS[*position];
            text += &format!("| {count} | {} | {} |\n", reason.group.heading(), reason.text);
        }
        text += "\n| exchanges | not sent, because it |\n|--:|---|\n";
        self.not_sent.iter().for_each(|(why, count)| text += &format!("| {count} | {why} |\n"));
        text += "\n| exchanges | sent or compared otherwise than recorded |\n|--:|---|\n";
        self.notes.iter().for_each(|(note, count)| text += &format!("| {count} | {note} |\n"));
        text
    }
}

impl Row {
    /// An exchange with several reasons stands in the column of the gravest.
    fn count(&mut self, reasons: &[Option<usize>]) {
        let groups = reasons.iter().map(|reason| reason.map_or(Group::Ours, |reason| REASONS[reason].group));
        match groups.max() {
            None => self.agreed += 1,
            Some(group) => *self.by_group.entry(group).or_default() += 1,
        }
    }

    fn markdown(&self, name: &str) -> String {
        let of = |group: Group| self.by_group.get(&group).copied().unwrap_or_default().to_string();
        let groups = Group::ALL.map(of).join(" | ");
        format!("| {name} | {} | {} | {} | {groups} |\n", self.exchanges, self.not_sent, self.agreed)
    }
}

/** One thing measured, for one pair, in one round. */
export interface Sample {
  readonly metric: string;
  readonly pair: string;
  readonly value: number;
}

export interface Row {
  readonly metric: string;
  readonly pair: string;
  /** Median over the rounds. */
  readonly value: number;
  /** Median of the per-round ratios to the reference pair; `undefined` where it was not measured. */
  readonly ratio: number | undefined;
  /** Smallest and largest of those ratios: how noisy the machine was. */
  readonly spread: readonly [number, number] | undefined;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** NaN of nothing. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN;
}

/** Rounds are interleaved, so that the n-th sample of each pair met the same weather: ratios are taken round by round. */
export function summarise(samples: readonly Sample[], reference: string): Row[] {
  const series = new Map<string, Map<string, number[]>>();
  for (const { metric, pair, value } of samples) {
    const pairs = series.get(metric) ?? new Map<string, number[]>();
    series.set(metric, pairs);
    pairs.set(pair, [...(pairs.get(pair) ?? []), value]);
  }
  const rows: Row[] = [];
  for (const [metric, pairs] of series) {
    const base = pairs.get(reference);
    for (const [pair, values] of pairs) {
      const ratios = base?.length === values.length ? values.map((value, i) => value / (base[i] as number)) : undefined;
      rows.push({
        metric,
        pair,
        value: median(values),
        ratio: ratios && median(ratios),
        spread: ratios && [Math.min(...ratios), Math.max(...ratios)],
      });
    }
  }
  return rows;
}

export function table(rows: readonly Row[], reference: string): string {
  const lines = [`| metric | pair | median | ratio to ${reference} | spread |`, '|---|---|---|---|---|'];
  for (const { metric, pair, value, ratio, spread } of rows) {
    const shown = ratio === undefined ? '' : ratio.toFixed(2);
    const range = spread === undefined ? '' : `${spread[0].toFixed(2)}–${spread[1].toFixed(2)}`;
    lines.push(`| ${metric} | ${pair} | ${value.toPrecision(4)} | ${shown} | ${range} |`);
  }
  return lines.join('\n');
}

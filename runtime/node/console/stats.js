// What numbers can say and what they cannot: the sample ratio, intervals, posteriors. Nothing here knows the page.

/** Logarithm of the gamma function (Lanczos, g = 7, n = 9). */
function logGamma(x) {
  const of = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const t = x + 6.5;
  const sum = of.slice(1).reduce((sum, c, i) => sum + c / (x + i), of[0]);
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}

/** The upper tail of the regularised incomplete gamma function. */
function gammaTail(a, x) {
  if (x <= 0) return 1;
  const front = Math.exp(-x + a * Math.log(x) - logGamma(a));
  if (x < a + 1) {
    let term = 1 / a;
    let sum = term;
    for (let n = 1; n < 500 && Math.abs(term) > Math.abs(sum) * 1e-15; n += 1) { term *= x / (a + n); sum += term; }
    return 1 - front * sum;
  }
  let b = x + 1 - a;
  let c = 1e300;
  let d = 1 / b;
  let f = d;
  for (let i = 1; i < 500; i += 1) {
    const an = -i * (i - a);
    b += 2;
    d = 1 / (an * d + b || 1e-300);
    c = b + an / c || 1e-300;
    const step = d * c;
    f *= step;
    if (Math.abs(step - 1) < 1e-15) break;
  }
  return front * f;
}

/** Pearson's chi-square of counts against the shares they should have: the statistic, and how often chance alone does as much. */
export function sampleRatio(counts, shares) {
  const all = counts.reduce((sum, n) => sum + n, 0);
  const parts = counts.map((n, i) => [n, shares[i] * all]).filter(([, expected]) => expected > 0);
  const unexpected = counts.some((n, i) => n > 0 && shares[i] <= 0);
  const chi2 = unexpected ? Infinity : parts.reduce((sum, [n, expected]) => sum + (n - expected) ** 2 / expected, 0);
  const df = Math.max(1, parts.length - 1);
  return { all, chi2, df, p: chi2 === Infinity ? 0 : gammaTail(df / 2, chi2 / 2), least: Math.min(...parts.map(([, expected]) => expected)) };
}

export const Z95 = 1.959963984540054;

/** Wilson's interval of a share. */
export function wilson(hits, all, z = Z95) {
  if (!all) return null;
  const p = hits / all;
  const d = 1 + z * z / all;
  const mid = (p + z * z / (2 * all)) / d;
  const half = (z / d) * Math.sqrt(p * (1 - p) / all + z * z / (4 * all * all));
  return [Math.max(0, mid - half), Math.min(1, mid + half)];
}

/** How much larger one share is than another, as a ratio less 1, with its interval (Katz' logarithm); null where there is too little. */
export function lift(hits, all, baseHits, baseAll, z = Z95) {
  if (!all || !baseAll || hits < 5 || baseHits < 5) return null;
  const ratio = (hits / all) / (baseHits / baseAll);
  const error = Math.sqrt(Math.max(0, 1 / hits - 1 / all + 1 / baseHits - 1 / baseAll));
  return { lift: ratio - 1, low: ratio * Math.exp(-z * error) - 1, high: ratio * Math.exp(z * error) - 1 };
}

/** The regularised incomplete beta function. */
function betaBelow(x, a, b) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
  const fraction = (x, a, b) => {
    let c = 1;
    let d = 1 / (1 - (a + b) * x / (a + 1) || 1e-300);
    let f = d;
    for (let m = 1; m < 400; m += 1) {
      const even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
      d = 1 / (1 + even * d || 1e-300); c = 1 + even / c || 1e-300; f *= d * c;
      const odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
      d = 1 / (1 + odd * d || 1e-300); c = 1 + odd / c || 1e-300;
      const step = d * c;
      f *= step;
      if (Math.abs(step - 1) < 1e-14) break;
    }
    return f;
  };
  return x < (a + 1) / (a + b + 2) ? front * fraction(x, a, b) / a : 1 - front * fraction(1 - x, b, a) / b;
}

/** A quantile of a Beta distribution. */
export function betaQuantile(q, a, b) {
  let [low, high] = [0, 1];
  for (let i = 0; i < 60; i += 1) {
    const mid = (low + high) / 2;
    if (betaBelow(mid, a, b) < q) low = mid; else high = mid;
  }
  return (low + high) / 2;
}

/** Mocha's spec reporter, which also writes counts, failures and the names of skipped tests to $QSTUNNEL_CI_REPORT. */
const { writeFileSync } = require('node:fs');
const { reporters } = require('mocha');

module.exports = class CiReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const skipped = [];
    const failures = [];
    runner.on('pending', (test) => skipped.push(test.fullTitle()));
    runner.on('fail', (test, error) => failures.push(`${test.fullTitle()}\n${error?.stack ?? error}`));
    runner.once('end', () => {
      const { passes } = this.stats;
      writeFileSync(process.env.QSTUNNEL_CI_REPORT, JSON.stringify({ passed: passes, failures, skipped }));
    });
  }
};

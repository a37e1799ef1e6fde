/** Mocha's spec reporter, which also writes counts and the names of skipped tests to $QSTUNNEL_CI_REPORT. */
const { writeFileSync } = require('node:fs');
const { reporters } = require('mocha');

module.exports = class CiReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const skipped = [];
    runner.on('pending', (test) => skipped.push(test.fullTitle()));
    runner.once('end', () => {
      const { passes, failures } = this.stats;
      writeFileSync(process.env.QSTUNNEL_CI_REPORT, JSON.stringify({ passed: passes, failed: failures, skipped }));
    });
  }
};

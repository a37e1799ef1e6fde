import { expect } from 'chai';
import { ownCommand } from '../../proxy/own-command.ts';

describe('the command that is printed to be pasted', () => {
  const checkout = ['/usr/bin/node', '/src/qstunnel/proxy/bin.mjs'];

  it('is npx where npm started us', () => {
    expect(ownCommand(checkout, { npm_command: 'run-script' })).to.equal('npx qstunnel');
    expect(ownCommand(['/usr/bin/node', '/x/node_modules/.bin/qstunnel'], { npm_command: 'exec' })).to.equal(
      'npx qstunnel',
    );
  });

  it('is the name on the path where that was used', () => {
    expect(ownCommand(['/usr/bin/node', '/usr/local/bin/qstunnel'], {})).to.equal('qstunnel');
  });

  it('is node and the file otherwise', () => {
    expect(ownCommand(checkout, {})).to.equal('node /src/qstunnel/proxy/bin.mjs');
  });
});

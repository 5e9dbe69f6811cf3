// Looks whether a server answers yet. A probe resolves within a second and never rejects.
import { readFileSync } from 'node:fs';
import { get } from 'node:http';
import { get as getTls } from 'node:https';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';

export const host = '127.0.0.1';
const patienceMs = 1_000;

/**
 * True if a server answers `text` with something that matches.
 * @param {number} port @param {string | Uint8Array} text @param {RegExp} answer to it, byte by byte
 * @param {import('./definitions.js').TlsFiles} [tls]
 * @returns {Promise<boolean>}
 */
export function answersText(port, text, answer, tls) {
  return new Promise((resolve) => {
    const place = { host, port };
    const socket = tls ? connectTls({ ...place, ...tlsOptions(tls) }) : connect(place);
    let heard = '';
    const end = () => {
      socket.destroy();
      resolve(answer.test(heard));
    };
    socket.setTimeout(patienceMs, end);
    socket.once('error', end);
    socket.once('close', end);
    socket.on('data', (data) => {
      heard += data.toString('latin1');
      if (answer.test(heard)) end();
    });
    socket.once(tls ? 'secureConnect' : 'connect', () => socket.write(text));
  });
}

/**
 * True if a GET is answered with status 200 and a body that matches.
 * @param {string} url @param {RegExp} answer
 * @param {import('./definitions.js').TlsFiles} [tls] @param {Record<string, string>} [headers]
 * @returns {Promise<boolean>}
 */
export function answersHttp(url, answer, tls, headers = {}) {
  return new Promise((resolve) => {
    const options = { timeout: patienceMs, agent: false, headers };
    const isSecure = url.startsWith('https:');
    const request = isSecure ? getTls(url, { ...options, ...tlsOptions(tls) }) : get(url, options);
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(false));
    request.once('response', (response) => {
      let heard = '';
      response.on('data', (data) => (heard += data));
      response.once('close', () => resolve(response.statusCode === 200 && answer.test(heard)));
    });
  });
}

/**
 * A probe trusts every server, and shows a certificate to those that ask.
 * @param {import('./definitions.js').TlsFiles | undefined} tls
 */
function tlsOptions(tls) {
  const { certFile, keyFile } = tls?.probe ?? tls ?? {};
  return {
    rejectUnauthorized: false,
    ...(certFile !== undefined && keyFile !== undefined
      ? { cert: readFileSync(certFile), key: readFileSync(keyFile) }
      : {}),
  };
}

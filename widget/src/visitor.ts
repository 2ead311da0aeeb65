// The visitor key: who this browser is. It lives in the cookie __ca__chat, readable by the site's server, and in a mirror
// in localStorage; either restores the other.
import { random } from './payload';
import { cookieName, get, set } from './storage';

/** Keys that other makers hand out are longer, shorter or of mixed case; ours are 12 of [a-z0-9]. */
const valid = /^[A-Za-z0-9]{9,64}$/;

const enum Age {
  year = 31536000,
}
const probe = cookieName + '_';

let key = '';
let domain: string | undefined;

function cookies(name: string): string[] {
  try {
    return document.cookie
      .split('; ')
      .filter((pair) => pair.startsWith(name + '='))
      .map((pair) => pair.slice(name.length + 1));
  } catch {
    return [];
  }
}

function setCookie(name: string, value: string, age: number, on: string, path = '/'): void {
  try {
    document.cookie = `${name}=${value};path=${path};max-age=${age};samesite=lax` + (on && ';domain=' + on) + (location.protocol == 'https:' ? ';secure' : '');
  } catch {
    // A sandboxed page has no cookies.
  }
}

/** The domains that a cookie of this page could be on: the widest first, at last '' for this host alone. */
function domains(): string[] {
  const labels = location.hostname.split('.');
  return ['', ...labels.map((_, i) => labels.slice(i).join('.'))].reverse();
}

/** Reports whether the browser takes a cookie on a domain: it refuses public suffixes. */
function takes(on: string): unknown {
  setCookie(probe, '1', 9, on);
  const taken = cookies(probe)[0];
  setCookie(probe, '', 0, on);
  return taken;
}

function keep(next: string): void {
  key = next;
  if (domain === undefined) domain = domains().find(takes) || '';
  // A cookie on a narrower domain or path, such as one that the site's server has set, would hide the new key. A path can
  // end with a slash or without; of "/a/b" there are "/a/b", "/a/", "/a" and "/".
  let path = cookies(cookieName).some((one) => one != key) ? location.pathname : '/';
  for (; path; path = path.replace(/\/$|[^/]+$/, ''))
    for (const on of domains()) if (on + path != domain + '/') setCookie(cookieName, '', 0, on, path);
  setCookie(cookieName, key, Age.year, domain);
  set(cookieName, key);
}

/**
 * The key to use now. The cookie is read each time, because another tab may have logged out and the site's server may have
 * handed over a key. Of several cookies the one we don't know is the newer. But a page that names a person keeps its key:
 * after a log-out elsewhere, it would bind the new visitor to the person before.
 */
export function current(named?: unknown): string {
  const known = key || get(cookieName);
  const next = !named && cookies(cookieName).find((one) => valid.test(one) && one != known);
  if (next) keep(next);
  return key;
}

/** Finds or makes the key when the page starts; a key in the page's address wins. */
export function arrive(): void {
  const given = new URLSearchParams(location.search).get(cookieName);
  keep([given, current(), get(cookieName)].find((one) => valid.test(one!)) || random(12, 36));
}

/** Forgets the key and makes another. */
export function renew(): void {
  keep(random(12, 36));
}

// The panel's own behaviour: keyboard, menus, dialogs, type-ahead, selection, toasts.
// Pages work without it as far as forms and links do; htmx swaps fragments beside it.
// Everything listens on the document, so that swapped-in parts need no setting up.
(() => {
  'use strict';
  const $ = (selector, from = document) => from.querySelector(selector);
  const typing = (e) => e.target.matches('input, textarea, select, [contenteditable]');
  const workspace = $('meta[name=workspace]')?.content;

  // A page says which workspace it was made for: another tab may have switched.
  if (workspace) {
    document.addEventListener('htmx:configRequest', (e) => { e.detail.headers['X-Workspace'] = workspace; });
    document.addEventListener('submit', (e) => {
      const form = e.target;
      if (form.method !== 'post') return;
      const button = e.submitter?.hasAttribute('formaction') ? e.submitter : null;
      const to = new URL((button ? button.getAttribute('formaction') : form.getAttribute('action')) || location.href, location.href);
      to.searchParams.set('_workspace', workspace);
      if (button) button.formAction = to;
      else form.action = to;
    });
  }

  // Toasts
  const gone = (toast) => setTimeout(() => { toast.classList.add('gone'); setTimeout(() => toast.remove(), 200); }, 6000);
  const show = (kind, text) => {
    const toast = document.createElement('p');
    toast.className = 'toast ' + kind;
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    svg.setAttribute('class', 'i');
    svg.setAttribute('aria-hidden', 'true');
    const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
    use.setAttribute('href', kind === 'danger' ? '#i-warning' : '#i-check');
    svg.append(use);
    const span = document.createElement('span');
    span.textContent = text;
    toast.append(svg, span);
    $('#toasts')?.append(toast);
    gone(toast);
  };
  document.querySelectorAll('.toast').forEach(gone);
  document.addEventListener('toast', (e) => show(e.detail.kind, e.detail.text));
  document.addEventListener('htmx:responseError', (e) => {
    const { xhr } = e.detail;
    if (xhr.getResponseHeader('HX-Redirect')) return;
    show('danger', xhr.responseText.length < 400 && xhr.responseText || 'That didn’t work. Reload the page and try again.');
  });
  document.addEventListener('htmx:sendError', () => show('danger', 'The server can’t be reached. Check the connection and try again.'));

  // Menus are popovers beside their button.
  document.addEventListener('toggle', (e) => {
    const menu = e.target;
    if (e.newState !== 'open' || !menu.matches?.('.menu')) return;
    const button = $(`[popovertarget="${CSS.escape(menu.id)}"]`);
    if (!button) return;
    const at = button.getBoundingClientRect(), box = menu.getBoundingClientRect();
    const up = at.bottom + box.height + 12 > innerHeight && at.top > box.height;
    menu.style.left = Math.max(8, Math.min(at.left, innerWidth - box.width - 8)) + 'px';
    menu.style.top = (up ? at.top - box.height - 4 : at.bottom + 4) + 'px';
    $('a, button', menu)?.focus();
  }, true);
  document.addEventListener('keydown', (e) => {
    const menu = e.target.closest?.('.menu');
    if (!menu || e.key !== 'ArrowDown' && e.key !== 'ArrowUp') return;
    e.preventDefault();
    const all = [...menu.querySelectorAll('a, button')], step = e.key === 'ArrowDown' ? 1 : -1;
    all[(all.indexOf(document.activeElement) + step + all.length) % all.length]?.focus();
  });

  // Dialogs
  document.addEventListener('click', (e) => {
    const opener = e.target.closest?.('[data-dialog]');
    if (opener) {
      opener.closest('[popover]')?.hidePopover();
      const dialog = document.getElementById(opener.dataset.dialog);
      dialog?.showModal();
      dialog?.querySelectorAll('[data-typed]').forEach(typed);
    }
    e.target.closest?.('[data-close]')?.closest('dialog')?.close();
    if (e.target.matches?.('dialog')) e.target.close(); // its backdrop
    const copy = e.target.closest?.('[data-copy]');
    if (copy) {
      const from = document.getElementById(copy.dataset.copy), text = from.value ?? from.textContent;
      const said = () => show('success', 'Copied.');
      if (navigator.clipboard) navigator.clipboard.writeText(text).then(said, () => from.select?.());
      else { from.select?.(); if (document.execCommand('copy')) said(); }
    }
  });
  const typed = (input) => {
    const button = $('button:not([type=button])', input.form);
    button.disabled = input.value.trim() !== input.dataset.typed.trim();
  };
  document.addEventListener('input', (e) => { if (e.target.dataset.typed !== undefined) typed(e.target); });

  // Forms that post at once when something is chosen
  document.addEventListener('change', (e) => {
    if (e.target.matches('[data-auto]')) e.target.form.requestSubmit();
  });

  // Type-ahead: an input with data-source in a [data-picker], and its list. Answers
  // that come after a later one are dropped, and nothing is taken from a list that was
  // made for another text: who types and presses Enter at once gets what has just that
  // name, or the list to choose from.
  const state = new WeakMap();
  const listOf = (input) => document.getElementById(input.getAttribute('aria-controls'));
  const close = (input) => {
    listOf(input).hidden = true;
    input.setAttribute('aria-expanded', 'false');
    input.removeAttribute('aria-activedescendant');
  };
  const current = (input) => !listOf(input).hidden && state.get(input)?.shown === input.value;
  const mark = (input, option) => {
    const list = listOf(input);
    list.querySelectorAll('[aria-selected]').forEach((one) => one.removeAttribute('aria-selected'));
    if (!option) return;
    option.id ||= list.id + '-' + [...list.querySelectorAll('.option')].indexOf(option);
    option.setAttribute('aria-selected', 'true');
    option.scrollIntoView({ block: 'nearest' });
    input.setAttribute('aria-activedescendant', option.id);
  };
  const find = (input) => {
    const s = state.get(input) ?? {};
    state.set(input, s);
    clearTimeout(s.timer);
    s.abort?.abort();
    s.enter = false;
    if (!input.value.trim() && input.type === 'search') return close(input);
    s.timer = setTimeout(async () => {
      s.abort = new AbortController();
      const from = new URL(input.dataset.source, location.href);
      const asked = input.value;
      from.searchParams.set('q', asked);
      try {
        const answer = await fetch(from, { headers: { 'HX-Request': 'true', 'X-Workspace': workspace ?? '' }, signal: s.abort.signal });
        if (answer.status === 401) return void location.reload();
        if (answer.status === 409) return show('danger', await answer.text());
        if (!answer.ok) throw new Error(answer.statusText);
        const list = listOf(input);
        list.innerHTML = await answer.text();
        s.shown = asked;
        const text = asked.trim().toLowerCase();
        const named = s.enter && [...list.querySelectorAll('.option[data-label]')].filter((one) => one.dataset.label.toLowerCase() === text);
        s.enter = false;
        if (named?.length === 1) return take(input, named[0]);
        list.hidden = false;
        input.setAttribute('aria-expanded', 'true');
        if (text) mark(input, $('.option', list)); // Enter on an empty field takes nothing
      } catch (problem) {
        if (problem.name !== 'AbortError') show('danger', 'The search doesn’t answer. Try again.');
      }
    }, 120);
  };
  const take = (input, option) => {
    if (option.href) return void location.assign(option.href);
    const picker = input.closest('[data-picker]'), created = option.dataset.create;
    $('[data-picked]', picker).value = option.dataset.value ?? '';
    $('[data-created]', picker).value = created ?? '';
    input.value = created ?? option.dataset.label;
    close(input);
    if (picker.hasAttribute('data-submit')) input.form.requestSubmit();
  };
  document.addEventListener('input', (e) => {
    if (!e.target.dataset.source) return;
    e.target.closest('[data-picker]').querySelectorAll('[data-picked], [data-created]').forEach((one) => { one.value = ''; });
    find(e.target);
  });
  document.addEventListener('focusin', (e) => {
    if (e.target.dataset?.source && e.target.type !== 'search' && !e.target.value) find(e.target);
  });
  document.addEventListener('focusout', (e) => { if (e.target.dataset?.source) setTimeout(() => close(e.target), 150); });
  document.addEventListener('mousedown', (e) => {
    const option = e.target.closest?.('.options .option');
    if (!option || e.button !== 0 || e.metaKey || e.ctrlKey) return;
    e.preventDefault(); // the input keeps the focus
    const list = option.closest('.options');
    take($(`[aria-controls="${CSS.escape(list.id)}"]`), option);
  });
  document.addEventListener('keydown', (e) => {
    const input = e.target;
    if (!input.dataset?.source) return;
    const list = listOf(input), all = [...list.querySelectorAll('.option')];
    const at = all.findIndex((one) => one.hasAttribute('aria-selected'));
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
      e.preventDefault();
      if (list.hidden) return find(input);
      mark(input, all[(at + (e.key === 'ArrowDown' ? 1 : -1) + all.length) % all.length]);
    } else if (e.key === 'Enter' && current(input) && at >= 0) {
      e.preventDefault();
      take(input, all[at]);
    } else if (e.key === 'Escape') {
      if (list.hidden) input.blur();
      else { e.preventDefault(); close(input); }
    }
  });

  // A form that is sent by picking isn't sent before that.
  document.addEventListener('submit', (e) => {
    const picker = $('[data-submit]', e.target);
    if (!picker || $('[data-picked]', picker).value || $('[data-created]', picker).value) return;
    e.preventDefault();
    const input = $('[data-source]', picker);
    if (current(input)) return;
    find(input);
    state.get(input).enter = true;
  });

  // Enter goes to the marked result; without one the search has a page of its own.
  document.addEventListener('submit', (e) => {
    const input = e.target.matches('.search') && $('input', e.target);
    const option = input && current(input) && $('[aria-selected]', listOf(input));
    if (!option) return;
    e.preventDefault();
    take(input, option);
  });

  // Keyboard on the page: / and Ctrl-K search; j, k, Enter and x in tables.
  document.addEventListener('keydown', (e) => {
    if ((e.ctrlKey || e.metaKey) && e.key === 'k' || e.key === '/' && !typing(e) && !e.ctrlKey && !e.metaKey && !e.altKey) {
      const search = $('#search');
      if (!search) return;
      e.preventDefault();
      search.focus();
      search.select();
      return;
    }
    if (typing(e) && e.target.type !== 'checkbox' || e.ctrlKey || e.metaKey || e.altKey || $('dialog[open], .menu:popover-open')) return;
    const rows = [...document.querySelectorAll('main table.list tbody tr')];
    const at = rows.findIndex((row) => row.classList.contains('at'));
    if (e.key === 'j' || e.key === 'k') {
      if (rows.length === 0) return;
      e.preventDefault();
      const row = rows[e.key === 'j' ? Math.min(at + 1, rows.length - 1) : Math.max(at - 1, 0)];
      rows[at]?.classList.remove('at');
      row.classList.add('at');
      row.scrollIntoView({ block: 'nearest' });
      $('.main a', row)?.focus({ preventScroll: true });
    } else if (e.key === 'Enter' && e.target.closest('.tick')) {
      e.preventDefault(); // it would press the first button of the bulk bar
    } else if (e.key === 'x' && at >= 0) {
      $('.tick input', rows[at])?.click();
    } else if (e.key === 'Enter' && at >= 0 && !e.target.closest('a, button')) {
      $('.main a', rows[at])?.click();
    } else if (e.key === 'Escape' && at >= 0) {
      rows[at].classList.remove('at');
      document.activeElement?.blur();
    }
  });

  // Selection: checkboxes in .tick, one for all in the head, and the bar #bulk with
  // its [data-selected].
  document.addEventListener('change', (e) => {
    const tick = e.target.closest?.('.tick');
    if (!tick) return;
    const table = tick.closest('table'), all = [...table.querySelectorAll('tbody .tick input')];
    const head = $('thead .tick input', table);
    if (e.target === head) all.forEach((one) => { one.checked = head.checked; });
    const n = all.filter((one) => one.checked).length;
    if (head) { head.checked = n > 0 && n === all.length; head.indeterminate = n > 0 && n < all.length; }
    const bulk = $('#bulk');
    if (!bulk) return;
    bulk.hidden = n === 0;
    bulk.querySelectorAll('[data-selected]').forEach((one) => { one.textContent = n; });
  });

  // Forms that open what is filled in beside what they do
  document.addEventListener('submit', (e) => {
    const name = e.target.dataset?.opens, text = name && e.target.elements[name].value.trim();
    if (!text) return;
    try {
      const to = new URL(text.includes('://') ? text : 'https://' + text);
      if (to.protocol === 'https:' || to.protocol === 'http:') window.open(to, '_blank', 'noopener');
    } catch { /* the answer says that it is no address */ }
  });

  // Inspector: a line unfolds what is known of its payload, and new lines come by
  // themselves. While the mouse or the keyboard is among them they wait.
  const fold = (link) => {
    const row = link.closest('tr');
    if (row.nextElementSibling?.matches('.unfolded')) row.nextElementSibling.remove();
    row.classList.remove('open');
    link.setAttribute('aria-expanded', 'false');
  };
  const unfold = async (link) => {
    if (link.getAttribute('aria-expanded') === 'true') return fold(link);
    link.setAttribute('aria-expanded', 'true');
    try {
      const answer = await fetch(link.href, { headers: { 'HX-Request': 'true', 'X-Workspace': workspace ?? '' } });
      if (answer.status === 401) return void location.reload();
      if (!answer.ok) throw new Error(answer.status === 404 ? 'This payload is no longer kept: newer ones have taken its place.' : await answer.text());
      if (link.getAttribute('aria-expanded') !== 'true') return; // folded meanwhile
      const row = document.createElement('tr'), cell = document.createElement('td');
      row.className = 'unfolded';
      cell.colSpan = 4;
      cell.innerHTML = await answer.text();
      row.append(cell);
      link.closest('tr').classList.add('open');
      link.closest('tr').after(row);
    } catch (problem) {
      link.setAttribute('aria-expanded', 'false');
      show('danger', problem.message || 'The payload can’t be read. Try again.');
    }
  };
  document.addEventListener('click', (e) => {
    if (e.ctrlKey || e.metaKey || e.shiftKey || e.button !== 0) return;
    const link = e.target.closest?.('a') ?? $('[data-unfold]', e.target.closest?.('tr[data-line]') ?? document.createElement('i'));
    if (!link?.matches('[data-unfold]')) return;
    e.preventDefault();
    unfold(link);
  });

  const lines = $('#lines[data-stream]');
  if (lines && window.EventSource) {
    const most = 300, live = $('#live');
    let queue = [], paused = false, source, wait;
    const say = (what) => {
      live.hidden = false;
      live.className = 'live ' + what;
      live.querySelectorAll('[data-live]').forEach((one) => { one.hidden = one.dataset.live !== what; });
      $('[data-fresh]', live).textContent = queue.length ? ' · ' + queue.length + ' new' : '';
    };
    const put = () => {
      for (const row of queue.splice(0)) { // oldest first
        lines.prepend(row);
        row.classList.add('fresh');
        setTimeout(() => row.classList.remove('fresh'), 1500);
      }
      const all = lines.querySelectorAll('tr[data-line]');
      for (let i = all.length - 1; i >= most; i--) {
        if (all[i].nextElementSibling?.matches('.unfolded')) all[i].nextElementSibling.remove();
        all[i].remove();
      }
      if (all.length) {
        $('.inspect-box').hidden = false;
        $('#no-lines').hidden = true;
      }
    };
    const state = () => say(paused ? 'paused' : source?.readyState === EventSource.OPEN ? 'on' : 'off');
    const hold = (now) => {
      paused = now;
      if (!paused) put();
      state();
    };
    lines.addEventListener('mouseenter', () => hold(true));
    lines.addEventListener('mouseleave', () => hold(lines.contains(document.activeElement)));
    lines.addEventListener('focusin', () => hold(true));
    lines.addEventListener('focusout', (e) => { if (!lines.contains(e.relatedTarget)) hold(lines.matches(':hover')); });
    const open = () => {
      source = new EventSource(lines.dataset.stream);
      source.addEventListener('open', () => { wait = 1000; state(); });
      source.addEventListener('lines', (e) => {
        const from = new URL(lines.dataset.stream, location.href);
        from.searchParams.set('after', e.lastEventId);
        lines.dataset.stream = from.pathname + from.search;
        const body = document.createElement('tbody');
        body.innerHTML = JSON.parse(e.data);
        queue.push(...[...body.rows].reverse());
        queue = queue.slice(-most);
        if (!paused) put();
        state();
      });
      source.addEventListener('waiting', (e) => {
        const text = JSON.parse(e.data), box = $('#waiting');
        box.hidden = !text;
        $('span', box).textContent = text;
      });
      source.addEventListener('error', () => {
        // A stream that ends is opened again by the browser, one that is refused is not.
        if (source.readyState === EventSource.CLOSED) {
          state();
          wait = Math.min((wait ?? 1000) * 2, 30000);
          setTimeout(open, wait);
        } else {
          setTimeout(state, 3000);
        }
      });
    };
    open();
    addEventListener('pagehide', () => source.close());
    addEventListener('pageshow', (e) => { if (e.persisted) open(); });
    // Times are relative; they must not grow old.
    setInterval(() => {
      for (const time of lines.querySelectorAll('.inspect-at time')) {
        const s = (Date.now() - Date.parse(time.dateTime)) / 1000;
        if (s >= 45 && s < 86400) time.textContent = s < 3600 ? Math.max(1, Math.floor(s / 60)) + ' min ago' : Math.floor(s / 3600) + ' h ago';
      }
    }, 15000);
  }

  // A value that is edited: Escape leaves it. Boxes that drop down close by Escape, and
  // by a click elsewhere.
  document.addEventListener('keydown', (e) => {
    if (e.key !== 'Escape') return;
    const cell = e.target.closest?.('.cell.editing'), box = e.target.closest?.('.drop[open]');
    if (cell) $('[data-escape]', cell).click();
    else if (box && !e.defaultPrevented) { box.open = false; $('summary', box).focus(); }
  });
  document.addEventListener('click', (e) => {
    document.querySelectorAll('.drop[open]').forEach((box) => { if (!box.contains(e.target)) box.open = false; });
  });
  document.querySelectorAll('main [data-typed]').forEach((input) => { if (!input.closest('dialog')) typed(input); });

  // A form that is sent is not sent again while its answer is awaited.
  document.addEventListener('submit', (e) => {
    const form = e.target;
    if (form.method !== 'post' || e.defaultPrevented || form.hasAttribute('hx-post')) return;
    if (form.dataset.sent) return void e.preventDefault();
    form.dataset.sent = 'yes';
    setTimeout(() => { delete form.dataset.sent; }, 3000);
  });
})();

// A question before something is moved: a dialog over the page that says from what to what. Owns the focus, which goes back where it
// was, and that whoever leaves says no.

import { h } from './dom.js';

/** Asks, and tells whether the answer was yes. It goes on saying what it said when it was asked, whatever happens on the page. */
export function confirmed({ title, says, facts, yes }) {
  return new Promise((done) => {
    const leave = () => dialog.close();
    const dialog = h('dialog', {
      'aria-labelledby': 'asked', 'aria-describedby': 'asked-says',
      onclose: () => {
        removeEventListener('hashchange', leave);
        dialog.remove();
        done(dialog.returnValue === 'yes');
      },
    },
    h('h2', { id: 'asked' }, title),
    h('p', { id: 'asked-says' }, says),
    h('dl', null, facts.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value)))),
    h('div', { class: 'actions' },
      h('button', { type: 'button', autofocus: true, onclick: leave }, 'Cancel'),
      h('button', { type: 'button', class: 'main', onclick: () => dialog.close('yes') }, yes)));
    addEventListener('hashchange', leave);
    document.body.append(dialog);
    dialog.showModal();
  });
}

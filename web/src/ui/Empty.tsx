import type { ReactNode } from 'react';
import styles from './Empty.module.css';

/** What stands where there is nothing yet, or nothing any more: what it is, and what to do. */
export function Empty(props: { title: string; body?: string; art?: ReactNode; children?: ReactNode; testid?: string }) {
  return (
    <div className={styles.empty} data-testid={props.testid}>
      {props.art !== undefined && (
        <div className={styles.art} aria-hidden="true">
          {props.art}
        </div>
      )}
      <h2>{props.title}</h2>
      {props.body !== undefined && <p>{props.body}</p>}
      {props.children}
    </div>
  );
}

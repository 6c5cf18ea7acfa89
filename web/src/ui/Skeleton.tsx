import styles from './Skeleton.module.css';

/** Stands in for rows that are on their way, at their own height, so that nothing moves. What comes at once shows none. */
export function Skeleton({ rows, height, label }: { rows: number; height: number; label: string }) {
  return (
    <div className={styles.skeleton}>
      <p className="visually-hidden" role="status">
        {label}
      </p>
      {Array.from({ length: rows }, (_, index) => (
        <span key={index} aria-hidden="true" style={{ height }} />
      ))}
    </div>
  );
}

import { useCallView } from '../app/call-context';
import { Stage } from './Stage';
import styles from './TalkPage.module.css';
import { TranscriptPane } from './TranscriptPane';

export function TalkPage() {
  const view = useCallView();
  return (
    <div className={styles.talk}>
      <Stage view={view} />
      <TranscriptPane session={view.session} live={view.phase.kind === 'live'} />
    </div>
  );
}

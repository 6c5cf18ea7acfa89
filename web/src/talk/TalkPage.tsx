import { useCallView } from '../app/call-context';
import { LiveWave } from './LiveWave';
import { Stage } from './Stage';
import styles from './TalkPage.module.css';
import { TranscriptPane } from './TranscriptPane';

export function TalkPage() {
  const view = useCallView();
  const inCall = view.phase.kind === 'live' || view.phase.kind === 'reconnecting';
  return (
    <div className={styles.talk}>
      <Stage view={view} />
      <TranscriptPane session={view.session} live={inCall}>
        <LiveWave running={inCall} />
      </TranscriptPane>
    </div>
  );
}

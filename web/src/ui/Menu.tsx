import * as Dropdown from '@radix-ui/react-dropdown-menu';
import { Ellipsis, type LucideIcon } from 'lucide-react';
import styles from './Menu.module.css';

export interface MenuItem {
  key: string;
  label: string;
  icon: LucideIcon;
  danger?: boolean;
  disabled?: boolean;
  run: () => void;
}

/** What else can be done with a thing, behind three dots. `label` names the thing. */
export function Menu({ label, items, testid }: { label: string; items: MenuItem[]; testid: string }) {
  return (
    <Dropdown.Root modal={false}>
      <Dropdown.Trigger asChild>
        <button type="button" className={styles.trigger} aria-label={label} title={label} data-testid={testid}>
          <Ellipsis size={20} aria-hidden="true" />
        </button>
      </Dropdown.Trigger>
      {/* Inside the main landmark, and above what scrolls in it. */}
      <Dropdown.Portal container={document.getElementById('main')}>
        <Dropdown.Content className={styles.menu} align="end" sideOffset={6} collisionPadding={12}>
          {items.map(({ key, label: text, icon: Icon, danger = false, disabled = false, run }) => (
            <Dropdown.Item
              key={key}
              className={styles.item}
              data-danger={danger}
              data-testid={`${testid}-${key}`}
              disabled={disabled}
              onSelect={run}
            >
              <Icon size={18} strokeWidth={1.75} aria-hidden="true" />
              {text}
            </Dropdown.Item>
          ))}
        </Dropdown.Content>
      </Dropdown.Portal>
    </Dropdown.Root>
  );
}

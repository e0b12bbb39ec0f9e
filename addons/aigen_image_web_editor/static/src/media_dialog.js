import { addPicturesTab } from "@aigen_image/picker/media_tab";
import { MediaDialog } from "@web_editor/components/media_dialog/media_dialog";

addPicturesTab(MediaDialog, (dialog) => dialog.tabs);

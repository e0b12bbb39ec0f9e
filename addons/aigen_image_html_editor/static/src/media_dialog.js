import { addPicturesTab } from "@aigen_image/picker/media_tab";
import { MediaDialog } from "@html_editor/main/media/media_dialog/media_dialog";

addPicturesTab(MediaDialog, (dialog) => dialog.notebookPages);

package cbpnet.app

import android.app.Activity
import android.app.AlertDialog
import android.content.Intent
import android.os.Bundle
import android.view.Menu
import android.view.MenuItem
import android.widget.EditText
import android.widget.ListView
import cbpnet.core.LearningSession

/** The known classes, and what can be done with them; the learner's state comes and goes as a file. */
class LibraryActivity : Activity() {
    private lateinit var list: ClassList
    private val showState = { _: LearnerState -> show() }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.library)
        list = ClassList(this, demo.pictures)
        view<ListView>(R.id.library_classes).apply {
            adapter = list
            emptyView = this@LibraryActivity.view(R.id.library_empty)
            setOnItemClickListener { _, _, place, _ -> offer(list.getItem(place).label) }
        }
    }

    override fun onStart() {
        super.onStart()
        demo.learner.state.observe(showState)
    }

    override fun onStop() {
        demo.learner.state.ignore(showState)
        super.onStop()
    }

    override fun onCreateOptionsMenu(menu: Menu): Boolean {
        menuInflater.inflate(R.menu.library, menu)
        return true
    }

    override fun onOptionsItemSelected(item: MenuItem): Boolean {
        when (item.itemId) {
            R.id.menu_export -> startActivityForResult(
                Intent(Intent.ACTION_CREATE_DOCUMENT).setType(STATE_TYPE)
                    .addCategory(Intent.CATEGORY_OPENABLE).putExtra(Intent.EXTRA_TITLE, STATE_NAME),
                EXPORT,
            )
            R.id.menu_import -> confirm(getString(R.string.import_question), R.string.choose_file) {
                val pick = Intent(Intent.ACTION_OPEN_DOCUMENT).setType("*/*").addCategory(Intent.CATEGORY_OPENABLE)
                startActivityForResult(pick, IMPORT)
            }
            else -> return super.onOptionsItemSelected(item)
        }
        return true
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        val document = data?.data ?: return
        val session = demo.learner.session ?: return say(getString(R.string.opening))
        if (request == EXPORT) {
            inBackground({
                contentResolver.openOutputStream(document, "wt")?.use { it.write(session.exportState()) }
            }) { say(getString(R.string.exported)) }
        } else {
            change(session) { importState(readDocument(document), document.lastPathSegment.orEmpty()) }
        }
    }

    private fun offer(label: String) {
        val session = demo.learner.session ?: return
        val choices = arrayOf(getString(R.string.teach_more), getString(R.string.rename), getString(R.string.forget))
        AlertDialog.Builder(this)
            .setTitle(label)
            .setItems(choices) { _, choice ->
                when (choice) {
                    0 -> startActivity(Intent(this, TeachActivity::class.java).putExtra(TeachActivity.LABEL, label))
                    1 -> askName(session, label)
                    2 -> askToForget(session, label)
                }
            }
            .show()
    }

    private fun askToForget(session: LearningSession, label: String) {
        confirm(getString(R.string.forget_question, label), R.string.forget) {
            change(session) {
                forget(label)
                demo.pictures.forget(label)
            }
        }
    }

    private fun askName(session: LearningSession, label: String) {
        val field = EditText(this).apply {
            setText(label)
            setSingleLine()
            contentDescription = getString(R.string.name_of_thing)
        }
        AlertDialog.Builder(this)
            .setTitle(R.string.rename)
            .setView(field)
            .setNegativeButton(R.string.cancel, null)
            .setPositiveButton(R.string.rename) { _, _ ->
                change(session) {
                    val before = knowledge.classNames
                    rename(label, field.text.toString())
                    demo.pictures.rename(label, (knowledge.classNames - before.toSet()).singleOrNull() ?: label)
                }
            }
            .show()
    }

    /** Changes what is known, after a lesson that may be running. */
    private fun change(session: LearningSession, change: LearningSession.() -> Unit) {
        inBackground({ session.change() }, ::show)
    }

    private fun show() {
        val knowledge = demo.learner.session?.knowledge
        list.show(knowledge?.classNames.orEmpty().map { KnownClass(it, knowledge?.imagesOf(it) ?: 0) })
    }

    private companion object {
        const val EXPORT = 3
        const val IMPORT = 4
        const val STATE_TYPE = "application/octet-stream"
        const val STATE_NAME = "learner.safetensors"
    }
}
